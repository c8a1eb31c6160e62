"""The connection to Valkey, or Redis: commands in batches, messages, and what happens when it is not there.

All commands go over one connection, those of one moment in one write: a pool would open hundreds of
connections for a burst. Messages arrive on a second one.
"""

import asyncio
import hashlib
import random
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import structlog
from valkey.asyncio import Valkey
from valkey.asyncio.connection import Connection
from valkey.exceptions import (
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    ValkeyError,
)

from ..telemetry.metrics import SHARED_UP, child

# A gateway goes on without Valkey within a second, when so many pulses have not come back. They are counted,
# not timed: a gateway that was itself held up has heard nothing either.
PULSE_SECONDS = 0.2
MOST_UNANSWERED = 4
CONNECT_SECONDS = 0.7
# The pauses between attempts to connect grow up to this, with some jitter: others try too.
LONGEST_PAUSE_SECONDS = 1.0

# A server that answers so is no better than none: it is full, a replica, cannot write to its disk, or has
# been told to forget the scripts, which are loaded again after a new connection.
_UNFIT = (OutOfMemoryError, ReadOnlyError, NoPermissionError, NoScriptError)
_UNFIT_WORDS = ("MISCONF", "NOREPLICAS", "MASTERDOWN")

Part = str | bytes | int | float


class Unavailable(Exception):
    """Valkey has not answered in time, or is known not to be there."""


class _Command:
    __slots__ = ("answered", "parts")

    def __init__(self, parts: tuple[Part, ...], answered: asyncio.Future[Any] | None) -> None:
        self.parts = parts
        self.answered = answered  # None: nobody waits for it

    def answer(self, reply: object) -> None:
        if self.answered is None or self.answered.done():
            return
        if isinstance(reply, Exception):
            self.answered.set_exception(reply)
        else:
            self.answered.set_result(reply)


class Link:
    """`member` is the name of this process, which nobody else can guess; `problem` says why it is not `up`.

    Replies are bytes, numbers, None, or lists of them.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.member = secrets.token_urlsafe(9)
        self.up = False
        self.problem = "not connected yet"
        self._prefix = prefix
        child(SHARED_UP, prefix).set(0)
        # Without the client's own time limit, which runs each write in a task, and can lose a cancellation.
        self._pool = Valkey.from_url(
            url, client_name="sluice", socket_timeout=None, socket_connect_timeout=None
        ).connection_pool
        self._outbox: list[_Command] = []
        self._digests: dict[str, str] = {}  # of the scripts that are loaded
        self._wake = asyncio.Event()
        self._channels: dict[bytes, Callable[[bytes], None]] = {}
        self._told_up: list[Callable[[], None]] = []
        self._told_down: list[Callable[[], None]] = []
        self._unanswered = 0
        self._pulse_channel = self.key("pulse", self.member)
        self.subscribe(self._pulse_channel, self._heard)

    def key(self, *parts: str) -> str:
        """The name of a key or channel, such as `sluice:members`."""
        return ":".join((self._prefix, *parts))

    async def call(self, script: str, keys: Sequence[str], args: Sequence[Part]) -> Any:
        """Run a Lua script, which is one step that nothing interrupts. Raises Unavailable."""
        return await self.post(script, keys, args)

    def post(self, script: str, keys: Sequence[str], args: Sequence[Part]) -> asyncio.Future[Any]:
        """The same without waiting for it: the future gets its reply, or Unavailable."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answered.add_done_callback(_seen)
        if self.up:
            self.send("EVALSHA", self._loaded(script), len(keys), *keys, *args, answered=answered)
        else:
            answered.set_exception(Unavailable(self.problem))
        return answered

    async def command(self, *parts: Part) -> Any:
        """Raises Unavailable, and the client's ResponseError for what Valkey refuses."""
        if not self.up:
            raise Unavailable(self.problem)
        answered = asyncio.get_running_loop().create_future()
        self.send(*parts, answered=answered)
        return await answered

    def send(self, *parts: Part, answered: asyncio.Future[Any] | None = None) -> None:
        """The same without waiting for it; lost while Valkey is not there. In the order of the calls."""
        if self.up:
            self._outbox.append(_Command(parts, answered))
            self._wake.set()

    def _loaded(self, script: str) -> str:
        """The script's digest. A script that is loaded is never evicted, unlike one that is only run."""
        if script not in self._digests:
            self._digests[script] = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            self.send("SCRIPT", "LOAD", script)
        return self._digests[script]

    def publish(self, channel: str, message: bytes) -> None:
        self.send("PUBLISH", channel, message)

    def subscribe(self, channel: str, told: Callable[[bytes], None]) -> None:
        """`told` gets each message of the channel; call it before `run`."""
        self._channels[channel.encode()] = told

    def when_up(self, told: Callable[[], None]) -> None:
        """`told` is called each time Valkey is there again; messages arrive from then on."""
        self._told_up.append(told)

    def when_down(self, told: Callable[[], None]) -> None:
        self._told_down.append(told)

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost, until cancelled."""
        pause = 0.0
        while True:
            commands, messages = (cast(Connection, self._pool.make_connection()) for _ in range(2))
            try:
                await self._connect(commands, messages)
                pause = 0.0
                await self._serve(commands, messages)
            except (ValkeyError, OSError, TimeoutError) as error:
                self._is_down(error)
            except Exception as defect:
                # In what follows from a message, of this version or of another gateway's: begin anew.
                structlog.get_logger().exception("shared_link_failed")
                self._is_down(defect)
            finally:
                for connection in (commands, messages):
                    with suppress(ValkeyError, OSError, TimeoutError):
                        await connection.disconnect(nowait=True)
            pause = min(pause * 2 + 0.1, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.7, 1))  # noqa: S311  # not for cryptography

    async def _connect(self, commands: Connection, messages: Connection) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            for connection in (commands, messages):
                await connection.connect()  # type: ignore[no-untyped-call]  # the client's own
            await messages.send_command("SUBSCRIBE", *self._channels)
            for _ in self._channels:
                await messages.read_response()
            # One that can only be read would otherwise seem to come and go all the time.
            await commands.send_command("SET", self.key("probe"), self.member, "PX", 1)
            await commands.read_response()
        self.up, self.problem = True, ""
        child(SHARED_UP, self._prefix).set(1)
        structlog.get_logger().info("shared_found")
        for told in self._told_up:
            told()

    async def _serve(self, commands: Connection, messages: Connection) -> None:
        """Until the connection is lost, which raises the reason."""
        parts = self._send_all(commands), self._read(messages), self._pulse()
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, connection: Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._outbox = self._outbox, []
            try:
                packed = connection.pack_commands([command.parts for command in batch])
                await connection.send_packed_command(packed)
                for command in batch:
                    command.answer(await _reply(connection))
            except BaseException:
                self._fail(batch)
                raise

    async def _read(self, connection: Connection) -> None:
        while True:
            _, channel, message = await connection.read_response()
            self._channels[channel](message)

    async def _pulse(self) -> None:
        """Notice that Valkey, or one of the connections, is silent. Raises TimeoutError."""
        self._unanswered = 0
        while self._unanswered < MOST_UNANSWERED:
            self._unanswered += 1
            self.publish(self._pulse_channel, b"")
            await asyncio.sleep(PULSE_SECONDS)
        raise TimeoutError

    def _heard(self, _: bytes) -> None:
        self._unanswered = 0

    def _is_down(self, error: Exception) -> None:
        was_up, self.up = self.up, False
        child(SHARED_UP, self._prefix).set(0)
        problem = str(error) or "it does not answer in time"
        if was_up or problem != self.problem:
            structlog.get_logger().warning("shared_lost", error=problem)
        self.problem = problem
        self._digests.clear()
        batch, self._outbox = self._outbox, []
        self._fail(batch)
        if was_up:
            for told in self._told_down:
                told()

    def _fail(self, batch: Sequence[_Command]) -> None:
        for command in batch:
            command.answer(Unavailable("it does not answer"))


def _seen(answered: asyncio.Future[Any]) -> None:
    """asyncio would report an error that nobody asks for."""
    answered.cancelled() or answered.exception()


async def _reply(connection: Connection) -> object:
    """The reply, or the error that the command itself has caused."""
    try:
        return await connection.read_response()
    except _UNFIT:
        raise
    except ResponseError as refused:
        if str(refused).startswith(_UNFIT_WORDS):
            raise
        return refused
