"""Answers through the published port of the stack in containers, and what interrupts them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.processes import wait_until
from tests.stack.containers import GATEWAY_IMAGE, MODEL, Containers, docker, running


def question(tokens: int) -> dict[str, Any]:
    # A prompt to which the model's answer does not end by itself.
    content = "Write a very long story about a lighthouse keeper."
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "options": {"num_predict": tokens, "temperature": 0},
    }


async def ask(client: httpx.AsyncClient, tokens: int, begun: asyncio.Event) -> list[str]:
    """The events of one answer, as received."""
    async with client.stream("POST", "/chat", json=question(tokens)) as response:
        assert response.status_code == 200, await response.aread()
        begun.set()
        body = "".join([text async for text in response.aiter_text()])
    return [event for event in body.split("\n\n") if event and not event.startswith(":")]


async def ask_while(
    stack: Containers, count: int, tokens: int, work: Callable[[], object], key: str = ""
) -> list[list[str]]:
    """`count` concurrent answers; `work` is done once all of them have begun."""
    begun = [asyncio.Event() for _ in range(count)]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=120, trust_env=False) as client:
        answers = [asyncio.create_task(ask(client, tokens, each)) for each in begun]
        while not all(each.is_set() for each in begun):
            for answer in answers:
                if answer.done():
                    answer.result()  # raises what has gone wrong; a short one may have ended well
            await asyncio.sleep(0.01)
        await asyncio.to_thread(work)
        return await asyncio.gather(*answers)


def is_done(events: list[str]) -> bool:
    return json.loads(events[-1].partition("data: ")[2]).get("done") is True


def test_the_stack_is_ready_within_15_seconds(seconds_to_ready: float) -> None:
    print(f"ready after {seconds_to_ready:.1f} s")
    assert seconds_to_ready < 15


def test_make_verify_reports_streamed(stack: Containers, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    stack.verify(f"URL={stack.url}", f"OUT={file}")
    record = json.loads(file.read_text())
    assert record["verdict"] == "streamed"
    assert record["path"][-1]["hop"] == "embedded engine"
    assert {"nginx", "Docker Engine", "Compose"} <= set(record["versions"]["programs"])
    assert {"fastapi", "gunicorn", "uvicorn", "xllamacpp"} <= set(record["versions"]["packages"])


def test_a_client_that_disconnects_frees_the_slot(stack: Containers) -> None:
    with httpx.stream("POST", f"{stack.url}/chat", json=question(4000), timeout=60) as response:
        lines = response.iter_lines()
        next(line for line in lines if '"content"' in line)
        assert stack.busy_slots() == 1
    wait_until(lambda: stack.busy_slots() == 0, 5, "the slot is free")
    assert [line["outcome"] for line in stack.logs("gateway") if line.get("event") == "request"][
        -1
    ] == "client_gone"


async def test_a_killed_engine_ends_the_answer_with_an_error(stack: Containers) -> None:
    [events] = await ask_while(stack, 1, 4000, lambda: stack.compose("kill", "engine"))
    assert events[-1].startswith("event: error\n")
    assert "upstream" in events[-1]
    # Docker does not restart a container that was killed on request.
    stack.compose("up", "--detach", "--wait")


async def test_the_engine_restarts_after_a_crash(stack: Containers) -> None:
    engine = stack.containers("engine")[0]

    def crash() -> None:
        # As the kernel does when memory is short, and not through Docker.
        process = docker("inspect", "--format", "{{.State.Pid}}", engine)
        kill = ["--user", "0", "--pid", "host", "--cap-add", "KILL", "--entrypoint", "python", GATEWAY_IMAGE]
        docker("run", "--rm", *kill, "-c", f"import os; os.kill({process}, 9)")

    [events] = await ask_while(stack, 1, 4000, crash)
    assert events[-1].startswith("event: error\n")
    state = ("inspect", "--format", "{{.RestartCount}} {{.State.Health.Status}}", engine)
    wait_until(lambda: docker(*state) == "1 healthy", 30, "the engine is restarted")
    stack.wait_ready()
    [events] = await ask_while(stack, 1, 200, lambda: None)
    assert is_done(events)


async def test_restarting_the_gateway_loses_none_of_20_streams(stack: Containers) -> None:
    answers = await ask_while(stack, 20, 40, lambda: stack.compose("restart", "gateway"))
    assert [is_done(events) for events in answers] == [True] * 20
    stack.wait_ready()


async def test_stopping_the_stack_ends_an_answer_with_a_terminal_event() -> None:
    with running(GATEWAY_GRACE="3", COMPOSE_PROJECT_NAME="sluice-test-stop") as (stack, _):
        [events] = await ask_while(stack, 1, 4000, lambda: stack.compose("stop"))
        assert events[-1].startswith("event: error\n")
        assert "shutting_down" in events[-1]


async def test_two_gateways_share_the_load(stack: Containers) -> None:
    stack.compose("up", "--detach", "--scale", "gateway=2")
    try:
        gateways = stack.containers("gateway")
        assert len(gateways) == 2

        def known_to_nginx() -> bool:
            for _ in range(4):
                httpx.get(f"{stack.url}/healthz")
            # Two upstreams in one line: the request was retried because the first was not listening yet.
            asked = {line["upstream"] for line in stack.logs("nginx")[-4:]}
            return len(asked) == 2 and not any("," in upstream for upstream in asked)

        wait_until(known_to_nginx, 30, "nginx has found both")
        before = [stack.answers(one) for one in gateways]
        answers = await ask_while(stack, 10, 60, lambda: None)
        assert [is_done(events) for events in answers] == [True] * 10
        shares = [stack.answers(one) - count for one, count in zip(gateways, before, strict=True)]
        assert sum(shares) == 10
        assert min(shares) >= 4
    finally:
        stack.compose("up", "--detach", "--scale", "gateway=1")


async def test_starting_and_stopping_gateways_fails_no_request(stack: Containers) -> None:
    statuses: list[int] = []

    async def keep_asking(client: httpx.AsyncClient) -> None:
        while True:
            statuses.append((await client.get("/healthz")).status_code)

    async with httpx.AsyncClient(base_url=stack.url, timeout=20, trust_env=False) as client:
        asking = asyncio.create_task(keep_asking(client))
        for count in ("2", "1", "3", "1"):
            await asyncio.to_thread(stack.compose, "up", "--detach", "--scale", f"gateway={count}")
        assert not asking.done(), asking.exception()
        asking.cancel()
    assert set(statuses) == {200}
    print(f"{len(statuses)} requests")
