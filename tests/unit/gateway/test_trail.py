"""The way of a request to upstream: from room to room, downwards only, and into each room at one place.

`pytest -s` on this file prints it.
"""

import inspect
import sys
from pathlib import Path
from types import FrameType

import httpx
import pytest

import gateway
from gateway.ask.waiting import Waiting
from tests.fakes.ollama import DONE, FakeOllama
from tests.unit.gateway.in_process import running
from tests.unit.gateway.test_imports import HEIGHT

ROOT = str(Path(gateway.__file__).parent)
# How those below say what is waited for: a notice upwards, that decides nothing.
NOTICES = frozenset(vars(Waiting))
# What goes on beside all requests.
BACKGROUND = frozenset(
    {
        "backends: Pool.watch",
        "backends: Polled.watch",
        "access: Keyring.watch",
        "state: State.update_metrics",
        "telemetry: LoopWatch.run",
    }
)
WAITS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Trail:
    """What is called from another room until upstream has been written to.

    `handed_on` are the functions that may wait, in their order: the way itself. The others are questions that
    are answered at once. `upwards` has calls of a room that is above.
    """

    def __init__(self) -> None:
        self.handed_on: list[str] = []
        self.upwards: list[str] = []
        self.done = False

    def note(self, frame: FrameType, event: str, _: object) -> None:
        room = room_of(frame)
        if event != "call" or not room or self.done:
            return
        name = f"{room}: {frame.f_code.co_qualname}"
        above = caller_of(frame)
        if above != room and frame.f_code.co_flags & WAITS and name not in {*self.handed_on, *BACKGROUND}:
            self.handed_on.append(name)
        if above and HEIGHT[above] < HEIGHT[room] and frame.f_code.co_name not in NOTICES:
            self.upwards.append(f"{above} calls {name}")
        self.done = name == "backends: Connection.ask" and "policy: Policy.check" in self.handed_on


def room_of(frame: FrameType) -> str | None:
    path = frame.f_code.co_filename
    return Path(path).relative_to(ROOT).with_suffix("").parts[0] if path.startswith(ROOT) else None


def caller_of(frame: FrameType) -> str | None:
    """The room of whatever of the gateway's own has called it, libraries between them left out."""
    back = frame.f_back
    while back and not room_of(back):
        back = back.f_back
    return back and room_of(back)


@pytest.mark.usefixtures("logging_as_before")
async def test_a_question_goes_down_from_room_to_room() -> None:
    with FakeOllama().running() as fake:
        fake.answer("m", DONE)
        async with running(fake.url) as url, httpx.AsyncClient() as client:
            question = {"model": "m:latest", "messages": [{"role": "user", "content": "hi"}]}
            # The first one looks for the model, and has a connection made.
            await client.post(f"{url}/chat", json=question)
            trail = Trail()
            sys.setprofile(trail.note)
            try:
                await client.post(f"{url}/chat", json=question)
            finally:
                sys.setprofile(None)
    print("\n".join(trail.handed_on))
    assert trail.done
    assert trail.upwards == []
    assert trail.handed_on == [
        "http: Cors.__call__",
        "turnstile: Turnstile.wait",
        "routes: chat",
        "ask: Reader.read",
        "streaming: Relayed.__call__",
        "streaming: Relay._watch_client",
        "streaming: Generation.run",
        "admission: Admission.answer",
        "policy: Policy.check",
        "backends: Pool.ask",
    ]
