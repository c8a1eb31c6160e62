"""How much is kept, and what becomes of readers that are slow or too many: where the answers are made, and at
another gateway.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.chat.question import question
from tests.integration.programs import gateway
from tests.integration.resume.events import events, numbered
from tests.integration.resume.gateways import Gateway, gateways
from tests.integration.scrapes import value
from tests.processes import wait_until
from tests.valkey import valkey

ASYNC = {"Prefer": "respond-async"}
RESUME = {"Prefer": "resume=60"}
MOST_BYTES = 1 << 20
MOST_TOTAL_BYTES = 4 << 20
SEND_TIMEOUT_SECONDS = 3
SETTINGS = {
    "GATEWAY_SLOTS": "20",
    "GATEWAY_RESUME_BYTES": str(MOST_BYTES),
    "GATEWAY_RESUME_TOTAL_BYTES": str(MOST_TOTAL_BYTES),
    "GATEWAY_SEND_TIMEOUT": str(SEND_TIMEOUT_SECONDS),
    "GATEWAY_QUEUE_PER_CALLER": "1000",
}
LINE = line("x" * 1000)


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("tiny", DONE)
        server.answer("half", *[LINE * 50] * 10, DONE)
        server.answer("halts", LINE, Do.WAIT, DONE)
        server.answer("most", *[LINE * 50] * 16, Do.WAIT, *[LINE * 50] * 100, DONE)
        server.answer("large", LINE, Do.WAIT, *[LINE * 50] * 100, DONE)
        server.answer("stalls", *[LINE * 50] * 16, Do.WAIT, *[LINE * 50] * 400, Do.HANG)
        server.answer("endless", *[LINE * 50] * 100, Do.HANG)
        yield server


class Places(NamedTuple):
    """Where answers are made, and where they are read."""

    home: str
    url: str


@pytest.fixture(params=["here", "elsewhere"])
def places(request: pytest.FixtureRequest, fake: FakeOllama, tmp_path: Path) -> Iterator[Places]:
    arrangement = _here if request.param == "here" else _elsewhere
    with arrangement(fake, tmp_path) as running:
        yield Places(running[0].url, running[-1].url)
        # Nothing that runs may be left by any of these tests.
        wait_until(lambda: not _run(running[0].url), 20, "all have ended")
    for each in running:
        assert "never awaited" not in each.process.output
        assert "without completing" not in each.process.output


@pytest.fixture
def home(places: Places) -> str:
    return places.home


@pytest.fixture
def url(places: Places) -> str:
    return places.url


@contextmanager
def _here(fake: FakeOllama, folder: Path) -> Iterator[list[Gateway]]:
    with gateway(fake.url, folder, **SETTINGS) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield [Gateway(process, url)]


@contextmanager
def _elsewhere(fake: FakeOllama, folder: Path) -> Iterator[list[Gateway]]:
    with (
        valkey(folder) as server,
        gateways(2, fake.url, server.url, folder, **SETTINGS) as running,
    ):
        yield running
        copies = "gateway_answers_kept_bytes"
        wait_until(lambda: value(running[1].url, copies) == 0, 20, "there are no copies any more")


def _run(url: str) -> float | None:
    return value(url, "gateway_answers_kept", state="running")


made_elsewhere = pytest.mark.parametrize("places", ["elsewhere"], indirect=True)
made_here = pytest.mark.parametrize("places", ["here"], indirect=True)


def begun(places: Places, model: str) -> str:
    """Where the answer is read."""
    sent = httpx.post(f"{places.home}/chat", json=question(model), headers=ASYNC, timeout=30)
    assert sent.status_code == 202
    return places.url + str(sent.headers["location"])


def kept_bytes(url: str) -> float:
    size = value(url, "gateway_answers_kept_bytes")
    assert size is not None
    return size


@contextmanager
def slow_reader(address: str) -> Iterator[socket.socket]:
    """Somebody who has begun to read an answer, with little room for it."""
    host, port, path = address.removeprefix("http://").replace("/", ":", 1).split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        connection.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
        connection.recv(1, socket.MSG_PEEK)
        yield connection


def read_slowly(connection: socket.socket, seconds: float) -> bytes:
    """All of it, with a pause after each piece: a client whose network is slow."""
    body = b""
    while piece := connection.recv(16_384):
        body += piece
        time.sleep(seconds)
    return body


def states(body: bytes) -> list[str]:
    return [json.loads(event.data)["state"] for event in events(body) if event.name == "status"]


def test_one_too_large_to_be_kept_is_complete_for_its_reader(fake: FakeOllama, home: str, url: str) -> None:
    fake.go_on()
    whole = httpx.post(f"{home}/chat", json=question("large"), timeout=60)
    kept = httpx.post(f"{home}/chat", json=question("large"), headers=RESUME, timeout=60)
    assert len(kept.content) > 5 * MOST_BYTES
    assert numbered(kept.content) == numbered(whole.content)
    assert states(kept.content)[-1] == "not_resumable"
    assert kept_bytes(url) < MOST_BYTES


@pytest.mark.parametrize("seen", ["0", "1", "30", "5002", "999999"])
def test_it_cannot_be_read_again(fake: FakeOllama, home: str, url: str, seen: str) -> None:
    fake.go_on()
    kept = httpx.post(f"{home}/chat", json=question("large"), headers=RESUME, timeout=60)
    for method in ("GET", "HEAD"):
        gone = httpx.request(method, url + kept.headers["location"], params={"after": seen})
        assert gone.status_code == 410
    assert httpx.delete(url + kept.headers["location"]).status_code == 204
    assert httpx.get(url + kept.headers["location"]).status_code == 404


def test_a_slow_reader_of_one_too_large_gets_all_of_it(fake: FakeOllama, places: Places, url: str) -> None:
    location = begun(places, "most")
    with slow_reader(location) as reader:
        wait_until(lambda: kept_bytes(url) > 500_000, 10, "it has most of what is kept")
        fake.go_on()
        body = read_slowly(reader, 0.001).partition(b"\r\n\r\n")[2]
    assert [event.id for event in numbered(body)] == [str(number) for number in range(1, 5_802)]
    assert value(url, "gateway_stalled_readers_total") == 0


def test_nobody_reads_one_too_large_so_the_model_is_free(fake: FakeOllama, places: Places, url: str) -> None:
    location = begun(places, "endless")
    wait_until(lambda: fake.received and fake.received[-1].gone.is_set(), 10, "the model is free")
    assert httpx.get(location).status_code == 410
    wait_until(lambda: kept_bytes(url) < 100_000, 10, "nothing of it is kept")


@made_here
def test_ended_answers_make_room_for_others_the_oldest_first(
    fake: FakeOllama, places: Places, url: str
) -> None:
    runs = begun(places, "halts")
    locations = [begun(places, "half") for _ in range(12)]
    for location in locations[-3:]:
        assert len(numbered(httpx.get(location, timeout=30).content)) == 501
    statuses = [httpx.head(location).status_code for location in locations]
    assert statuses == sorted(statuses, reverse=True)
    assert set(statuses) == {200, 404}
    assert 3 << 20 < kept_bytes(url) <= MOST_TOTAL_BYTES
    fake.go_on()
    assert [event.id for event in numbered(httpx.get(runs).content)] == ["1", "2"]


def test_one_that_is_being_read_makes_no_room(fake: FakeOllama, places: Places, url: str) -> None:
    read = begun(places, "half")
    with slow_reader(read) as reader:
        wait_until(lambda: kept_bytes(url) > 500_000, 10, "it has ended")
        for _ in range(12):
            begun(places, "half")
        body = read_slowly(reader, 0).partition(b"\r\n\r\n")[2]
    assert len(numbered(body)) == 501
    assert value(url, "gateway_answers_given_up_total") == 0


@made_elsewhere
def test_copies_of_others_take_no_more_than_all_may(fake: FakeOllama, places: Places, url: str) -> None:
    for _ in range(12):
        location = begun(places, "half")
        assert len(numbered(httpx.get(location, timeout=30).content)) == 501
        assert kept_bytes(url) <= MOST_TOTAL_BYTES


@made_here
def test_very_many_small_ones_take_no_more_than_all_may(fake: FakeOllama, home: str, url: str) -> None:
    with httpx.Client(timeout=30) as client:
        for _ in range(1200):
            sent = client.post(f"{home}/chat", json=question("tiny"), headers=ASYNC)
            assert sent.status_code == 202
    assert 3 << 20 < kept_bytes(url) <= MOST_TOTAL_BYTES
    assert value(url, "gateway_answers_given_up_total") == 0


def test_a_fast_reader_does_not_wait_for_a_slow_one(fake: FakeOllama, places: Places, url: str) -> None:
    location = begun(places, "most")
    with ExitStack() as stack:
        slow = [stack.enter_context(slow_reader(location)) for _ in range(3)]
        with httpx.stream("GET", location, timeout=60) as fast:
            pieces = fast.iter_raw()
            body = next(pieces)
            wait_until(lambda: kept_bytes(url) > 500_000, 10, "it has most of what is kept")
            started = time.monotonic()
            fake.go_on()
            body += b"".join(pieces)
            assert time.monotonic() - started < SEND_TIMEOUT_SECONDS + 5
        assert len(numbered(body)) == 5_801
        wait_until(
            lambda: value(url, "gateway_stalled_readers_total") == len(slow), 20, "the slow ones are dropped"
        )
    wait_until(lambda: not fake.answering, 10, "the model is free")


def test_the_model_is_free_when_the_only_reader_of_one_too_large_stalls(
    fake: FakeOllama, places: Places, url: str
) -> None:
    location = begun(places, "stalls")
    with slow_reader(location):
        wait_until(lambda: kept_bytes(url) > 500_000, 10, "it has most of what is kept")
        fake.go_on()
        wait_until(lambda: fake.received[-1].gone.is_set(), 20, "the model is free")
    assert value(url, "gateway_stalled_readers_total") == 1


def test_no_more_than_sixteen_read_one_answer(fake: FakeOllama, places: Places, url: str) -> None:
    location = begun(places, "halts")
    with ExitStack() as stack:
        readers = [stack.enter_context(httpx.stream("GET", location, timeout=30)) for _ in range(16)]
        refused = httpx.get(location)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_readers")
        readers.pop().close()

        def there_is_room() -> bool:
            with httpx.stream("GET", location, timeout=30) as one_more:
                return one_more.status_code == 200

        wait_until(there_is_room, 10, "another one can read")
        fake.go_on()
        assert {len(numbered(b"".join(reader.iter_raw()))) for reader in readers} == {2}
