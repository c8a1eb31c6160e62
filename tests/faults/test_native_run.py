"""`make run` and `make demo` with faulty outputs, directories and settings, signals, and other processes.

With a fake Ollama, so that the start is fast.
"""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.outputs import OUTPUTS
from tests.processes import BIN, ROOT, Process, free_port, listens, wait_until

RUN = [sys.executable, "-m", "deploy.native", "run"]
UP = "The stack is up"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("m", line(), DONE)
        yield server


def ports() -> dict[str, str]:
    return {variable: str(free_port()) for variable in ("PORT", "GATEWAY_PORT", "ENGINE_PORT")}


def settings(fake: FakeOllama, **more: str) -> dict[str, str]:
    return {**ports(), "OLLAMA_URL": fake.url, "GATEWAY_GRACE": "3", **more}


def url(environment: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{environment['PORT']}"


def nobody_listens(environment: Mapping[str, str]) -> bool:
    return not any(listens(int(environment[name])) for name in ("PORT", "GATEWAY_PORT", "ENGINE_PORT"))


@contextmanager
def running(environment: Mapping[str, str], log: Path) -> Iterator[Process]:
    """A stack that has reported that it is up."""
    process = Process(RUN, environment, log)
    try:
        wait_until(lambda: UP in process.output or process.popen.poll() is not None, 60, "it is up")
        assert UP in process.output, process.output
        yield process
    finally:
        process.stop()


# --- Faulty outputs ----------------------------------------------------------------------------------------


def answers_all(environment: Mapping[str, str], count: int) -> None:
    """Sends more requests than any pipe has room for in log lines."""
    with httpx.Client(base_url=url(environment), timeout=20) as client:
        for _ in range(count):
            assert client.post("/chat", json=QUESTION).status_code == 200
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_stack_runs_and_stops_with_a_faulty_output(
    fake: FakeOllama, tmp_path: Path, output: str, stop: signal.Signals
) -> None:
    environment = settings(fake)
    with OUTPUTS[output]() as descriptor:
        process = Process(RUN, environment, tmp_path / "log", descriptor)
        try:
            process.wait_ready(f"{url(environment)}/healthz")
            answers_all(environment, 500)
            process.popen.send_signal(stop)
            assert process.popen.wait(30) == 0
            assert nobody_listens(environment)
        finally:
            process.stop()


def test_it_runs_without_standard_streams(fake: FakeOllama, tmp_path: Path) -> None:
    environment = settings(fake)
    closed = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *RUN]
    process = Process(closed, environment, tmp_path / "log")
    try:
        process.wait_ready(f"{url(environment)}/healthz")
        answers_all(environment, 20)
    finally:
        assert process.stop() == 0


@pytest.mark.parametrize("output", ["its reader is gone", "its disk is full"])
def test_the_demo_finishes_with_a_faulty_output(tmp_path: Path, output: str) -> None:
    with OUTPUTS[output]() as descriptor:
        process = Process([*RUN[:-1], "demo"], ports(), tmp_path / "log", descriptor)
        assert process.popen.wait(90) == 0


# --- Ollama and models -------------------------------------------------------------------------------------


def commands(text: str) -> list[list[str]]:
    """The commands in the text, as they can be pasted."""
    return [shlex.split(found) for found in re.findall(r"^  (\S.*)$", text, re.MULTILINE)]


def send(curl: list[str]) -> httpx.Response:
    """Sends the request of a curl command."""
    headers = dict(curl[at + 1].split(": ", 1) for at, word in enumerate(curl) if word == "-H")
    (address,) = [word for word in curl if word.startswith("http")]
    return httpx.post(address, content=curl[curl.index("-d") + 1], headers=headers, timeout=30)


def test_the_stack_starts_without_models_and_can_pull_one(
    tmp_path: Path,
) -> None:
    with FakeOllama().running() as empty:
        environment = settings(empty, GATEWAY_ADMIN_API="on")
        with running(environment, tmp_path / "log") as process:
            assert "There is no model yet that can chat" in process.output
            ollama_pull, pull, chat = commands(process.output)
            assert ollama_pull == [f"OLLAMA_HOST={empty.url}", "ollama", "pull", "qwen2.5:1.5b"]
            empty.answer("qwen2.5:1.5b", b'{"status":"success"}\n')
            assert b'"success"' in send(pull).content
            assert empty.received[-1].path == "/api/pull"
            empty.answer("qwen2.5:1.5b", line(), DONE)
            assert b'"done":true' in send(chat).content


def test_where_managing_models_is_not_allowed_it_says_what_would_allow_it(tmp_path: Path) -> None:
    with FakeOllama().running() as empty, running(settings(empty), tmp_path / "log") as process:
        assert "GATEWAY_ADMIN_API=on" in process.output
        assert send(commands(process.output)[1]).status_code == 403


def test_the_password_of_an_ollama_is_not_shown(tmp_path: Path) -> None:
    address = f"http://user:secret@127.0.0.1:{free_port()}"
    process = Process(RUN, {**ports(), "OLLAMA_URL": address}, tmp_path / "log")
    assert process.popen.wait(30) == 1
    assert "no Ollama answers there" in process.output
    assert "secret" not in process.output


def test_a_program_that_ends_at_the_start_is_named_with_its_last_lines(
    fake: FakeOllama, tmp_path: Path
) -> None:
    process = Process(RUN, settings(fake, GATEWAY_HEARTBEAT="often"), tmp_path / "log")
    assert process.popen.wait(30) == 1
    assert "gateway (exit status 1) ended by itself" in process.output
    assert "GATEWAY_HEARTBEAT" in process.output.partition("Its last output:")[2]
    assert "Traceback" not in process.output


def test_its_programs_may_open_as_many_files_as_their_streams_need(fake: FakeOllama, tmp_path: Path) -> None:
    environment = settings(fake)
    usual = ["/bin/sh", "-c", 'ulimit -Sn 1024 && exec "$@"', "sh", *RUN]
    process = Process(usual, environment, tmp_path / "log")
    try:
        wait_until(lambda: UP in process.output, 60, "it is up")
        listed = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text()
        assert len(listed.split()) == 2
        for child in listed.split():
            limits = Path(f"/proc/{child}/limits").read_text()
            (soft,) = re.findall(r"^Max open files +(\d+)", limits, re.MULTILINE)
            assert int(soft) >= 16384
    finally:
        process.stop()


# --- A second one, and one that was killed -----------------------------------------------------------------


def facts(environment: Mapping[str, str]) -> Path:
    return ROOT / ".run" / environment["PORT"] / "stack.json"


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


# --- Folders and files -------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout, with the installed programs of this one."""
    folder = tmp_path / "checkout"
    for part in ("deploy", "nginx"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "keys", "tls")
        )
    (folder / ".venv").symlink_to(BIN.parent)
    return folder


def refusal(checkout: Path, fake: FakeOllama, *, command: str = "run", script: str = 'exec "$@"') -> str:
    """The output of a run that does not start."""
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *RUN[:-1], command],
        cwd=checkout,
        env={**os.environ, **settings(fake)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    return done.stdout


def odd_run_folders(checkout: Path) -> dict[str, Path]:
    """What takes the place of .run. Not even root can create files in /proc."""
    (checkout / "file").write_text("")
    return {"a file": checkout / "file", "dangling": checkout / "gone", "not writable": Path("/proc")}


@pytest.mark.parametrize("odd", ["a file", "dangling", "not writable"])
@pytest.mark.parametrize("command", ["run", "demo"])
def test_an_unusable_run_directory_is_named(fake: FakeOllama, checkout: Path, odd: str, command: str) -> None:
    (checkout / ".run").symlink_to(odd_run_folders(checkout)[odd])
    got = refusal(checkout, fake, command=command)
    assert re.fullmatch(r"the directory \.run/\d+ cannot be written \(.+\); .+\n", got)


def test_a_full_run_directory_is_named(fake: FakeOllama, checkout: Path) -> None:
    # With this limit, every write to a file fails, as on a full disk.
    got = refusal(checkout, fake, script='ulimit -f 0 && exec "$@"')
    assert re.fullmatch(
        r"the directory \.run/\d+ cannot be written \(.+\); .+free some space.+\n",
        got,
    )


@pytest.mark.parametrize(
    "content", ["PORT=1\n".encode("utf-16"), "PORT=1\n".encode("utf-16-le"), "A=ö\n".encode("latin-1")]
)
def test_an_env_file_in_another_encoding_is_named(fake: FakeOllama, checkout: Path, content: bytes) -> None:
    (checkout / ".env").write_bytes(content)
    assert refusal(checkout, fake) == ".env is not UTF-8, perhaps UTF-16; save it as UTF-8\n"


@pytest.mark.parametrize("target", [".", "/proc/self/mem"])
def test_an_unreadable_env_file_is_named(fake: FakeOllama, checkout: Path, target: str) -> None:
    (checkout / ".env").symlink_to(target)
    assert re.fullmatch(r"\.env cannot be read \(.+\); .+\n", refusal(checkout, fake))


def test_an_env_file_may_begin_with_a_byte_order_mark(fake: FakeOllama, checkout: Path) -> None:
    (checkout / ".env").write_bytes(b"\xef\xbb\xbfTLS=on\n")
    assert "TLS works only in containers" in refusal(checkout, fake)


# --- Stopped during the start ------------------------------------------------------------------------------


def make_run() -> list[str]:
    """The command that `make run` executes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    listed = subprocess.run(
        ["make", "-n", "run"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    (command,) = [shlex.split(line) for line in listed if line.endswith("deploy.native run")]
    return command


def handles(process: Process, number: signal.Signals) -> bool:
    """Whether the process blocks or handles the signal; before that, the program has not started yet."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    masks = re.findall(r"^Sig(?:Blk|Cgt):\s+(\w+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_at_any_moment_of_the_start_ends_cleanly(
    fake: FakeOllama, tmp_path: Path, number: signal.Signals
) -> None:
    command = make_run()
    for attempt in range(12):
        environment = settings(fake)
        process = Process(command, environment, tmp_path / f"log-{attempt}")
        wait_until(partial(handles, process, number), 10, "the program has started")
        with suppress(subprocess.TimeoutExpired):  # still running: any moment will do
            process.popen.wait(random.uniform(0, 0.15 * attempt))
        process.popen.send_signal(number)
        assert process.popen.wait(30) == 0, process.output
        assert "Traceback" not in process.output
        assert nobody_listens(environment)
        assert not facts(environment).exists()


@pytest.mark.parametrize("command", ["run", "demo"])
@pytest.mark.parametrize("word", ["engine  starting", "gateway starting", "nginx   starting"])
def test_a_stop_while_a_program_starts_leaves_nothing_running(
    tmp_path: Path, word: str, command: str
) -> None:
    environment = ports()
    process = Process([*RUN[:-1], command], environment, tmp_path / "log")
    wait_until(lambda: word in process.output, 60, word)
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(30) == {"run": 0, "demo": 130}[command]
    assert "Traceback" not in process.output
    assert nobody_listens(environment)
