"""`make run` with an Ollama without models, and with programs that do not start."""

import re
import shlex
from pathlib import Path

import httpx

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.faults.native_run.runs import RUN, UP, running, settings
from tests.integration.stacks import ports
from tests.processes import Process, free_port, wait_until


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
