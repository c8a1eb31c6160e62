"""`make run` next to another run, and after one that was killed."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import FakeOllama
from tests.faults.native_run.runs import RUN, UP, facts, nobody_listens, running, settings, url
from tests.processes import ROOT, Process, wait_until


@pytest.mark.parametrize("same", [("PORT", "GATEWAY_PORT", "ENGINE_PORT"), ("GATEWAY_PORT",)])
def test_a_second_one_leaves_the_first_alone(fake: FakeOllama, tmp_path: Path, same: tuple[str, ...]) -> None:
    first = settings(fake)
    with running(first, tmp_path / "first"):
        second = {**settings(fake), **{name: first[name] for name in same}}
        process = Process(RUN, second, tmp_path / "second")
        assert process.popen.wait(30) == 1
        assert len(process.output.splitlines()) == 1
        assert f"{same[0]}=" in process.output
        assert json.loads(facts(first).read_text())["url"] == url(first)
        assert httpx.get(f"{url(first)}/healthz").status_code == 200


def test_of_two_at_once_one_comes_up_and_the_other_says_why_not(fake: FakeOllama, tmp_path: Path) -> None:
    environment = settings(fake)
    both = [Process(RUN, environment, tmp_path / name) for name in ("one", "other")]
    try:
        wait_until(lambda: [UP in process.output for process in both].count(True) == 1, 60, "one is up")
        wait_until(lambda: [p.popen.poll() for p in both].count(1) == 1, 30, "the other has ended")
        (up,) = [process for process in both if process.popen.poll() is None]
        (other,) = [process for process in both if process is not up]
        assert f"already running on port {environment['PORT']}" in other.output
        assert httpx.get(f"{url(environment)}/healthz").status_code == 200
    finally:
        for process in both:
            process.stop()


def test_leftovers_of_a_killed_run_do_not_prevent_the_next_start(fake: FakeOllama, tmp_path: Path) -> None:
    environment = settings(fake)
    with running(environment, tmp_path / "first") as process:
        process.popen.kill()
        wait_until(lambda: nobody_listens(environment), 30, "its programs have ended")
        assert facts(environment).exists()
        facts(environment).write_text('{"url": "http')
    verify = [*RUN[:-1], "verify", "--url", url(environment)]
    done = subprocess.run(
        verify, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert "no answer from" in done.stderr
    assert "Traceback" not in done.stderr
    with running(environment, tmp_path / "second"):
        assert json.loads(facts(environment).read_text())["url"] == url(environment)
    assert not facts(environment).exists()
