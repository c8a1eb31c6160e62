"""Whose an answer is, under whatever name it is asked for, and what it counts for its caller."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.terms import parse_terms
from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.chat.question import question
from tests.integration.programs import gateway
from tests.integration.queue.queues import until
from tests.integration.resume.events import numbered
from tests.integration.scrapes import value

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("short", line("a"), DONE)
        server.answer("halts", line("a"), Do.WAIT, DONE)
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("owners")


@pytest.fixture(scope="module")
def keys(folder: Path) -> KeyFile:
    return KeyFile(folder / "keys")


@pytest.fixture(scope="module")
def url(fake: FakeOllama, keys: KeyFile, folder: Path) -> Iterator[str]:
    keys.create("first", "user", EVERY_MODEL, None)
    settings = {"GATEWAY_KEYS_FILE": str(folder / "keys"), "GATEWAY_OPEN_METRICS": "on"}
    with gateway(fake.url, folder, **settings) as (process, address):
        process.wait_ready(f"{address}/readyz")
        yield address


@pytest_asyncio.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


async def known(http: httpx.AsyncClient, key: str) -> dict[str, str]:
    """The headers with a new key, once the gateway has read its file."""
    headers = {"Authorization": f"Bearer {key}"}
    await until_status(http, headers, 200)
    return headers


async def until_status(http: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    url = f"{http.base_url}/usage"
    await until(lambda: httpx.get(url, headers=headers).status_code == status, f"the key gets {status}")


async def begun(http: httpx.AsyncClient, key: dict[str, str], model: str = "short") -> str:
    sent = await http.post("/chat", json=question(model), headers={**ASYNC, **key})
    assert sent.status_code == 202
    return str(sent.headers["location"])


async def test_each_key_of_a_name_reads_it(http: httpx.AsyncClient, keys: KeyFile) -> None:
    first = await known(http, keys.create("alice", "user", EVERY_MODEL, None))
    location = await begun(http, first)
    second = await known(http, keys.rotate("alice", timedelta(hours=1)))
    assert len(numbered((await http.get(location, headers=second)).content)) == 2
    assert (await http.delete(location, headers=second)).status_code == 204


async def test_a_revoked_key_reads_nothing_more(http: httpx.AsyncClient, keys: KeyFile) -> None:
    key = await known(http, keys.create("bob", "user", EVERY_MODEL, None))
    location = await begun(http, key)
    keys.revoke("bob")
    await until_status(http, key, 401)
    for method in ("GET", "HEAD", "DELETE"):
        assert (await http.request(method, location, headers=key)).status_code == 401


@pytest.mark.parametrize("role", ["user", "admin"])
async def test_another_caller_cannot_tell_it_from_none(
    http: httpx.AsyncClient, keys: KeyFile, role: str
) -> None:
    owner = await known(http, keys.create(f"owner-{role}", "user", EVERY_MODEL, None))
    other = await known(http, keys.create(f"other-{role}", "admin", EVERY_MODEL, None))
    location = await begun(http, owner)
    for method in ("GET", "HEAD", "DELETE"):
        seen = [await http.request(method, place, headers=other) for place in (location, "/chat/none")]
        assert [answer.status_code for answer in seen] == [404, 404]
        bodies = [{**answer.json()["error"], "request_id": ""} for answer in seen if answer.content]
        assert not bodies or bodies[0] == bodies[1]
    assert (await http.get(location, headers=owner)).status_code == 200


async def test_it_counts_as_running_until_its_end_not_its_readers(
    http: httpx.AsyncClient, keys: KeyFile, fake: FakeOllama, url: str
) -> None:
    terms = parse_terms("concurrent=1")
    key = await known(http, keys.create("carol", "user", EVERY_MODEL, None, terms))
    fake.pause()
    location = await begun(http, key, "halts")
    refused = await http.post("/chat", json=question("short"), headers=key)
    assert refused.status_code == 429
    for _ in range(3):  # reading it is no request of its own
        async with http.stream("GET", location, headers=key) as reading:
            assert reading.status_code == 200
    assert value(url, "gateway_requests_in_flight") == 1
    fake.go_on()
    assert len(numbered((await http.get(location, headers=key)).content)) == 2
    await until(lambda: value(url, "gateway_requests_in_flight") == 0, "nothing is in flight")
    assert (await http.post("/chat", json=question("short"), headers=key)).status_code == 200


@pytest.mark.parametrize("prefer", ["resume=60", "respond-async"])
async def test_a_refusal_says_what_is_left_of_the_limits(
    http: httpx.AsyncClient, keys: KeyFile, prefer: str
) -> None:
    terms = parse_terms("requests=1/m")
    key = await known(http, keys.create(f"limited-{len(prefer)}", "user", EVERY_MODEL, None, terms))
    seen = []
    for wishes in ({"Prefer": prefer}, {"Prefer": prefer}, {}):
        sent = await http.post("/chat", json=question("short"), headers={**key, **wishes})
        seen.append((sent.status_code, sent.headers["x-ratelimit-remaining-requests"]))
    assert [status for status, _ in seen] == [200 if prefer == "resume=60" else 202, 429, 429]
    assert {left for _, left in seen} == {"0"}


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "a%2Fb",
        "..%2F..%2Fmetrics",
        "%00",
        "%0d%0aX-Evil:%201",
        "a" * 6000,
        "\u2028é🙂",
        "%ff%fe",
        "-",
        "a?after=1",
        "a%3Fafter=1",
        "{id}",
        "%25",
    ],
)
async def test_any_other_id_is_not_found(http: httpx.AsyncClient, keys: KeyFile, name: str) -> None:
    key = {"Authorization": f"Bearer {keys.create('dave', 'user', EVERY_MODEL, None)}"}
    await until_status(http, key, 200)
    for method in ("GET", "HEAD", "DELETE"):
        missing = await http.request(method, f"/chat/{name}", headers=key)
        assert missing.status_code == 404
        if missing.content:
            assert json.loads(missing.content)["error"]["code"] in ("answer_not_found", "not_found")


async def test_without_keys_it_belongs_to_an_address(fake: FakeOllama, tmp_path: Path) -> None:
    with gateway(fake.url, tmp_path) as (_, address):
        other = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with (
            httpx.AsyncClient(base_url=address) as here,
            httpx.AsyncClient(base_url=address, transport=other) as there,
        ):
            location = await begun(here, {})
            for method in ("GET", "HEAD", "DELETE"):
                assert (await there.request(method, location)).status_code == 404
            assert (await here.get(location)).status_code == 200
