"""Which models are pulled, and how their progress is reported."""

import asyncio
from dataclasses import replace

from structlog.testing import capture_logs

from gateway.backends.client import Upstream
from tests.fakes.ollama import Answer
from tests.processes import free_port, wait_until
from tests.unit.gateway.pulling.ollama import MANIFEST, SUCCESS, VERIFYING, PullingOllama, part
from tests.unit.gateway.pulling.puller import PATIENT, events, pull, puller


async def test_what_is_missing_is_pulled_in_the_order_given() -> None:
    async with PullingOllama(models=["there:1", "Case:latest", "short:2"]).running() as ollama:
        refused, lines = await pull(ollama, "b", "there:1", "a:1", "case", "library/short:2", "B:latest")
    assert ollama.pulls == ["b", "a:1"]
    assert [line["model"] for line in events(lines, "pulled")] == ["b", "a:1"]
    assert not refused
    assert lines[-1]["event"] == "all_models_there"


async def test_nothing_is_pulled_if_all_is_there() -> None:
    async with PullingOllama(models=["a:latest"]).running() as ollama:
        refused, lines = await pull(ollama, "a")
    assert (ollama.pulls, refused) == ([], {})
    assert [line["event"] for line in lines] == ["all_models_there"]


async def test_who_wants_no_models_needs_no_ollama() -> None:
    refused, lines = await pull(PullingOllama(url=f"http://127.0.0.1:{free_port()}"))
    assert not refused
    assert [line["event"] for line in lines] == ["all_models_there"]


async def test_progress_is_told_over_all_layers() -> None:
    steps = [
        MANIFEST,
        part("aa", 0, 800),
        part("aa", 400, 800),
        part("aa", 800, 800),
        part("bb", 200, 200),
        SUCCESS,
    ]
    async with PullingOllama(answers={"a": [Answer(steps)]}).running() as ollama:
        _, lines = await pull(ollama, "a")
    told = [
        (line["status"], line.get("done_bytes"), line.get("total_bytes")) for line in events(lines, "pulling")
    ]
    assert told == [
        ("pulling manifest", None, None),
        ("pulling aa", 0, 800),
        ("pulling aa", 400, 800),
        ("pulling aa", 800, 800),
        ("pulling bb", 1000, 1000),
    ]
    assert events(lines, "pulling")[2]["progress"] == "50% of 800 B"
    assert events(lines, "pulled")[0]["fetched_bytes"] == 800


async def test_what_ollama_fetches_again_does_not_make_more_than_all() -> None:
    steps = [MANIFEST, part("aa", 5, 10), part("aa", 15, 10), SUCCESS]
    async with PullingOllama(answers={"a": [Answer(steps)]}).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert [line.get("percent") for line in events(lines, "pulling")] == [None, 50, 100]


async def test_between_changes_of_status_progress_is_told_only_now_and_then() -> None:
    steps = [MANIFEST, *(part("aa", done, 100) for done in range(100)), VERIFYING, SUCCESS]
    async with PullingOllama(answers={"a": [Answer(steps)]}).running() as ollama:
        _, lines = await pull(ollama, "a", pace=replace(PATIENT, report=60))
    told = [line["status"] for line in events(lines, "pulling")]
    assert told == ["pulling manifest", "pulling aa", "verifying sha256 digest"]


async def test_an_ollama_that_is_not_up_is_waited_for() -> None:
    port = free_port()
    upstream = Upstream(f"http://127.0.0.1:{port}", 3)
    with capture_logs() as lines:
        pulling = asyncio.create_task(puller(upstream, ("a",), PATIENT).run())
        await asyncio.to_thread(wait_until, lambda: events(lines, "waiting"), 5, "it says that it waits")
        async with PullingOllama().running(port) as ollama:
            await asyncio.wait_for(pulling, 10)
    await upstream.aclose()
    assert events(lines, "waiting")[0]["reason"] == "the model server cannot be reached"
    assert ollama.pulls == ["a"]


async def test_that_ollama_is_not_ready_is_said_only_now_and_then() -> None:
    async with PullingOllama(unready=5).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert ollama.unready == 0
    assert [line["reason"] for line in events(lines, "waiting")] == [
        "the model server answered with status 503"
    ]
