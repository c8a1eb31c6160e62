"""`gateway pull` against an Ollama whose pulls go as a test says."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.backends.client import Upstream
from gateway.commands.pull.pull import Pace, Puller
from tests.fakes.ollama import Answer, Do, Step
from tests.processes import BIN, free_port, wait_until

PATIENT = Pace(poll=0.001, report=0, stall=30, settle=30, first_delay=0.001, longest_delay=0.02)
QUICK = replace(PATIENT, stall=0.2, settle=0.4)

Lines = list[MutableMapping[str, Any]]


def line(status: str, **fields: Any) -> bytes:
    return json.dumps({"status": status, **fields}).encode() + b"\n"


def part(digest: str, completed: int, total: int) -> bytes:
    # Ollama leaves a `completed` of 0 out.
    return line(
        f"pulling {digest}",
        digest=f"sha256:{digest}",
        total=total,
        **({"completed": completed} if completed else {}),
    )


def error(text: str) -> bytes:
    return json.dumps({"error": text}).encode() + b"\n"


MANIFEST, VERIFYING, SUCCESS = line("pulling manifest"), line("verifying sha256 digest"), line("success")
HALF = part("aa", 5, 10)
GOOD = Answer([MANIFEST, part("aa", 5, 10), part("aa", 10, 10), VERIFYING, line("writing manifest"), SUCCESS])
NO_NETWORK = Answer(
    [MANIFEST, error('pull model manifest: Get "https://r/v2/": dial tcp: lookup r: no such host')]
)
UNKNOWN = Answer([MANIFEST, error("pull model manifest: file does not exist")])


@dataclass
class PullingOllama:
    """`answers` are those to a model's next pulls; the last one holds for all that follow."""

    models: list[str] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    pulls: list[str] = field(default_factory=list)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    unready: int = 0
    """Times that it cannot say what it has."""
    forgets: int = 0
    """Pulls of which nothing comes."""
    url: str = ""

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["PullingOllama"]:
        app = web.Application()
        app.router.add_get("/api/tags", self._tags)
        app.router.add_post("/api/pull", self._pull)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _tags(self, _: web.Request) -> web.Response:
        if self.unready:
            self.unready -= 1
            raise web.HTTPServiceUnavailable
        return web.json_response({"models": [{"name": name} for name in self.models]})

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        self.pulls.append(name)
        script = self.answers.get(name, [GOOD])
        answer = script.pop(0) if len(script) > 1 else script[0]
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/x-ndjson"})
        try:
            await self._play(answer.steps, request, response)
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        if self.forgets:
            self.forgets -= 1
        elif SUCCESS in answer.steps:
            self.models.append(name if ":" in name else f"{name}:latest")
        return response

    async def _play(self, steps: Sequence[Step], request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        for step in steps:
            if isinstance(step, bytes):
                await response.write(step)
            elif step is Do.DROP and request.transport:
                request.transport.abort()
            elif step is Do.HANG:
                await asyncio.Event().wait()
            elif step is Do.WAIT:
                # What Ollama does while nothing arrives.
                while True:
                    await response.write(HALF)
                    await asyncio.sleep(0.01)


async def pull(ollama: PullingOllama, *names: str, pace: Pace = PATIENT) -> tuple[dict[str, str], Lines]:
    """What was refused, and what was logged."""
    upstream = Upstream(ollama.url, 3)
    with capture_logs() as lines:
        refused = await asyncio.wait_for(Puller(upstream, names, pace).run(), 10)
    await upstream.aclose()
    return refused, lines


def events(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


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


FAILURES = {
    "no network": NO_NETWORK,
    "too many requests": Answer([MANIFEST, error("pull model manifest: 429: slow down")]),
    "the registry's own trouble": Answer([MANIFEST, error("pull model manifest: 503: try later")]),
    "an error half-way": Answer([MANIFEST, HALF, error("max retries exceeded: EOF")]),
    "a file that came in wrong": Answer([MANIFEST, HALF, VERIFYING, error("digest mismatch")]),
    "a reset half-way": Answer([MANIFEST, HALF, Do.DROP]),
    "a reset at once": Answer([Do.DROP]),
    "an end half-way": Answer([MANIFEST, HALF]),
    "nothing": Answer([]),
    "something else": Answer([MANIFEST, b"<html>\n"]),
    "500": Answer([error("out of order")], status=500),
    "503": Answer([error("busy")], status=503),
    "429": Answer([error("busy")], status=429),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_what_may_pass_is_tried_again_until_it_has_passed(failure: Answer) -> None:
    async with PullingOllama(answers={"a": [failure, failure, GOOD]}).running() as ollama:
        refused, lines = await pull(ollama, "a")
    assert ollama.pulls == ["a"] * 3
    assert not refused
    assert len(events(lines, "pull_failed")) == 2
    assert len(events(lines, "pulled")) == 1


async def test_an_end_without_success_is_none_whatever_is_listed() -> None:
    async with PullingOllama(answers={"a": [FAILURES["an end half-way"], GOOD]}).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert "without reporting success" in events(lines, "pull_failed")[0]["reason"]


@pytest.mark.parametrize("stuck", [Do.HANG, Do.WAIT], ids=["silence", "the same line over and over"])
async def test_a_download_that_does_not_move_is_begun_again(stuck: Do) -> None:
    answers = [Answer([MANIFEST, HALF, stuck]), GOOD]
    async with PullingOllama(answers={"a": answers}).running() as ollama:
        _, lines = await pull(ollama, "a", pace=QUICK)
        await asyncio.wait_for(ollama.abandoned.wait(), 5)
    assert ollama.pulls == ["a", "a"]
    assert events(lines, "pull_failed")[0]["reason"] == "stalled at 'pulling aa'"


async def test_an_ollama_that_does_not_answer_a_pull_is_asked_again() -> None:
    async with PullingOllama(answers={"a": [Answer([Do.HANG]), GOOD]}).running() as ollama:
        await pull(ollama, "a", pace=QUICK)
    assert ollama.pulls == ["a", "a"]


async def test_verifying_may_take_longer_than_a_download_may_stand_still() -> None:
    ollama = PullingOllama(answers={"a": [Answer([MANIFEST, VERIFYING, Do.HANG]), GOOD]})
    async with ollama.running():
        started = asyncio.get_running_loop().time()
        await pull(ollama, "a", pace=QUICK)
    assert asyncio.get_running_loop().time() - started > QUICK.settle


REFUSALS = {
    "no such model": UNKNOWN,
    "an Ollama too old": Answer([MANIFEST, error("pull model manifest: 412: requires a newer version")]),
    "no model for Ollama": Answer([MANIFEST, error("pull model manifest: 400: not compatible")]),
    "no access": Answer([MANIFEST, error("pull model manifest: unauthorized: access denied")]),
    "none at Hugging Face": Answer([MANIFEST, error('pull model manifest: realm host "" does not match')]),
    "no name": Answer([error("invalid model name")], status=400),
    "404": Answer([error("model 'a' not found")], status=404),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_what_cannot_be_had_is_reported_once_and_the_others_are_pulled(refusal: Answer) -> None:
    async with PullingOllama(answers={"a": [refusal]}).running() as ollama:
        refused, lines = await pull(ollama, "a", "b")
    assert ollama.pulls == ["a", "b"]
    assert list(refused) == ["a"]
    assert [(line["model"], line["reason"]) for line in events(lines, "pull_refused")] == [
        ("a", refused["a"])
    ]
    assert lines[-1]["event"] == "models_missing"
    assert lines[-1]["models"] == refused
    assert "MODELS" in lines[-1]["todo"]


async def test_a_model_that_keeps_failing_holds_up_no_other() -> None:
    answers = {"a": [NO_NETWORK] * 12 + [GOOD], "b": [NO_NETWORK] * 4 + [GOOD]}
    async with PullingOllama(answers=answers).running() as ollama:
        refused, _ = await pull(ollama, "a", "b", "c")
    assert not refused
    assert ollama.pulls[:7] == ["a"] * 3 + ["b"] * 3 + ["c"]
    assert ollama.pulls.count("a") == 13


async def test_a_turn_ends_when_the_next_attempt_is_far_off() -> None:
    pace = replace(PATIENT, first_delay=0.2, longest_delay=0.2, patience=0.05)
    async with PullingOllama(answers={"a": [NO_NETWORK, GOOD]}).running() as ollama:
        await pull(ollama, "a", "b", pace=pace)
    assert ollama.pulls == ["a", "b", "a"]


async def test_the_pauses_grow_unless_bytes_arrive() -> None:
    moving = Answer([MANIFEST, part("aa", 1, 10), part("aa", 5, 10), Do.DROP])
    async with PullingOllama(answers={"a": [NO_NETWORK] * 4 + [moving, GOOD]}).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert [line["failures"] for line in events(lines, "pull_failed")] == [1, 2, 3, 4, 1]


async def test_a_model_that_is_not_listed_after_its_pull_is_pulled_again() -> None:
    async with PullingOllama(forgets=1).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert ollama.pulls == ["a", "a"]
    assert "does not list the model" in events(lines, "pull_failed")[0]["reason"]


async def test_an_ollama_that_is_not_up_is_waited_for() -> None:
    port = free_port()
    upstream = Upstream(f"http://127.0.0.1:{port}", 3)
    with capture_logs() as lines:
        pulling = asyncio.create_task(Puller(upstream, ("a",), PATIENT).run())
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


@asynccontextmanager
async def command(ollama: PullingOllama, models: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        BIN / "gateway",
        "pull",
        env={**os.environ, "GATEWAY_OLLAMA_URL": ollama.url, "GATEWAY_MODELS": models},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_command_ends_with_1_and_a_last_line_that_says_what_to_do() -> None:
    async with (
        PullingOllama(answers={"a": [UNKNOWN]}).running() as ollama,
        command(ollama, "a, b") as process,
    ):
        output, _ = await process.communicate()
    assert process.returncode == 1
    last = json.loads(output.splitlines()[-1])
    assert last["models"] == {"a": "pull model manifest: file does not exist"}
    assert last["level"] == "error"


async def test_sigterm_ends_the_command_and_its_pull_at_once() -> None:
    async with PullingOllama(answers={"a": [Answer([MANIFEST, Do.HANG])]}).running() as ollama:
        async with command(ollama, "a") as process:
            assert process.stdout
            assert b"pulling manifest" in await process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            rest = await process.stdout.read()
            assert await process.wait() == 128 + signal.SIGTERM
        await asyncio.wait_for(ollama.abandoned.wait(), 5)
    assert [json.loads(line)["event"] for line in rest.splitlines()] == ["stopped"]
