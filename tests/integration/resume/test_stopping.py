"""What becomes of answers that stay when the gateway stops, and where none can."""

import signal
from pathlib import Path

import httpx

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.chat.question import question
from tests.integration.programs import gateway, line_of
from tests.integration.resume.events import numbered

ASYNC = {"Prefer": "respond-async"}


def test_one_that_is_read_finishes_and_one_that_nobody_reads_ends_at_once(tmp_path: Path) -> None:
    with FakeOllama().running() as fake:
        fake.answer("m", line("a"), Do.WAIT, line("b"), DONE)
        with gateway(fake.url, tmp_path, GATEWAY_GRACE="20") as (process, url):
            sent, unread = (
                httpx.post(f"{url}/chat", json=question("m"), headers=ASYNC, timeout=30) for _ in range(2)
            )
            with httpx.stream("GET", url + sent.headers["location"], timeout=30) as reading:
                pieces = reading.iter_raw()
                body = b""
                while b"id: 1\n" not in body:
                    body += next(pieces)
                process.popen.send_signal(signal.SIGTERM)
                assert line_of(process, unread.headers["x-request-id"])["outcome"] == "drained"
                fake.go_on()
                body += b"".join(pieces)
            assert [event.id for event in numbered(body)] == ["1", "2", "3"]
            assert line_of(process, sent.headers["x-request-id"])["outcome"] == "ok"


def test_several_workers_say_that_none_can(tmp_path: Path) -> None:
    with FakeOllama().running() as fake:
        fake.answer("m", line("a"), DONE)
        with gateway(fake.url, tmp_path, GATEWAY_WORKERS="2") as (process, url):
            assert "needs GATEWAY_WORKERS=1" in process.output
            sent = httpx.post(f"{url}/chat", json=question("m"), headers=ASYNC, timeout=30)
            assert (sent.status_code, len(numbered(sent.content))) == (200, 2)
            assert not {"location", "preference-applied"} & set(sent.headers)


def test_zero_turns_them_off(tmp_path: Path) -> None:
    with FakeOllama().running() as fake:
        fake.answer("m", line("a"), DONE)
        with gateway(fake.url, tmp_path, GATEWAY_RESUME_MAX="0") as (_, url):
            sent = httpx.post(f"{url}/chat", json=question("m"), headers=ASYNC, timeout=30)
            assert (sent.status_code, "location" in sent.headers) == (200, False)
