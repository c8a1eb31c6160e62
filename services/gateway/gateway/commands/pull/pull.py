"""Has one Ollama pull the models one after the other, and retries temporary errors."""

import asyncio
import json
import math
import random
import time
from contextlib import closing
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from ...backends.client import Upstream
from ...backends.listing import listed
from ...dialects.splitter import LINE, Splitter
from ...errors import GatewayError, UpstreamFailed, UpstreamTimeout, UpstreamTruncated
from ...names import full_name
from .lines import is_permanent, parsed
from .progress import Progress

MAX_LINE_BYTES = 1024 * 1024

REMEDY = (
    "correct or remove these names in MODELS (GATEWAY_MODELS), see https://ollama.com/search, and start again"
)


@dataclass(frozen=True)
class Pace:
    """Intervals and timeouts in seconds."""

    poll: float = 1
    """Between two polls of an Ollama that is not up."""
    remind: float = 30
    """Between two log lines about that."""
    list_timeout: float = 10
    """Timeout of /api/tags."""
    report: float = 5
    """Between two progress lines."""
    stall: float = 60
    """A download without progress for this long is restarted; it resumes where it was."""
    settle: float = 3600
    """The same after the download: Ollama verifies a large model silently, and if it is interrupted there, it
    skips the verification the next time."""
    first_delay: float = 1
    longest_delay: float = 60
    patience: float = 5
    """A model whose next attempt is due within this time keeps its turn, up to `tries` times."""
    tries: int = 3


@dataclass(eq=False)
class Wanted:
    name: str
    due: float = 0
    failures: int = 0


class Puller:
    """`disk` is held during a pull: nothing else on that disk may be pulled at the same time."""

    def __init__(
        self,
        upstream: Upstream,
        names: tuple[str, ...],
        pace: Pace,
        log: FilteringBoundLogger,
        disk: asyncio.Lock,
    ) -> None:
        self._upstream = upstream
        self._names = names
        wanted: dict[str, Wanted] = {}
        for name in names:
            wanted.setdefault(full_name(name), Wanted(name))
        self._waiting = list(wanted.values())
        self._pace = pace
        self._log = log
        self._disk = disk
        self._refused: dict[str, str] = {}

    async def run(self) -> dict[str, str]:
        """Run until every model is installed or refused; returns the refused ones with the reason."""
        if self._waiting:
            installed = await self._listed()
            self._waiting = [model for model in self._waiting if full_name(model.name) not in installed]
        while self._waiting:
            # The model that is due first, in the given order, so that none blocks another.
            await self._turn(min(self._waiting, key=lambda model: model.due))
        if self._refused:
            self._log.error("models_missing", models=self._refused, todo=REMEDY)
        else:
            self._log.info("all_models_there", models=self._names)
        return self._refused

    async def _turn(self, model: Wanted) -> None:
        for _ in range(self._pace.tries):
            await asyncio.sleep(model.due - time.monotonic())
            await self._try(model)
            if model not in self._waiting or model.due - time.monotonic() > self._pace.patience:
                break

    async def _try(self, model: Wanted) -> None:
        if full_name(model.name) in await self._listed():
            self._waiting.remove(model)
            return
        if self._disk.locked():
            async with self._disk:
                return  # whoever pulled there may have pulled this model
        progress = Progress(model.name, self._pace.report, self._log)
        try:
            async with self._disk:
                await self._pull(progress)
            if full_name(model.name) not in await self._listed():
                raise UpstreamFailed("Ollama reported success, but does not list the model")
        except GatewayError as error:
            if is_permanent(error):
                self._waiting.remove(model)
                self._refused[model.name] = error.message
                self._log.error("pull_refused", model=model.name, reason=error.message)
            else:
                self._put_off(model, progress, error.message)
        else:
            self._waiting.remove(model)
            progress.log_pulled()

    def _put_off(self, model: Wanted, progress: Progress, reason: str) -> None:
        # A download that makes progress despite interruptions will finish, one that never verifies will not.
        if progress.fetched > 0 and progress.downloading:
            model.failures = 0
        longest = min(self._pace.longest_delay, self._pace.first_delay * 2 ** min(model.failures, 30))
        delay = longest * random.uniform(0.5, 1)  # noqa: S311 - only spreads the attempts
        model.failures += 1
        model.due = time.monotonic() + delay
        self._log.warning(
            "pull_failed",
            model=model.name,
            reason=reason,
            failures=model.failures,
            retry_in_seconds=round(delay, 1),
        )

    async def _pull(self, progress: Progress) -> None:
        """One attempt. Raises GatewayError; UpstreamRefused if the error is permanent."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._pace.stall) as limit:
                body = json.dumps({"model": progress.model}).encode()
                headers = {"Content-Type": "application/json"}
                with closing(await self._upstream.ask_once("POST", "/api/pull", body, headers)) as answer:
                    splitter = Splitter(LINE, MAX_LINE_BYTES)

                    def take(data: bytes) -> None:
                        for line in splitter.feed(data):
                            if progress.take(parsed(line)):
                                pace = self._pace
                                limit.reschedule(
                                    loop.time() + (pace.stall if progress.downloading else pace.settle)
                                )

                    await answer.stream_into(take)
                    for line in splitter.flush():
                        progress.take(parsed(line))
        except TimeoutError:
            raise UpstreamTimeout(f"stalled at {progress.status or 'the start'!r}") from None
        if progress.status != "success":
            raise UpstreamTruncated("Ollama ended the pull without reporting success")

    async def _listed(self) -> frozenset[str]:
        """The installed models; waits until Ollama answers."""
        reminded = -math.inf
        while True:
            try:
                return listed(await self._upstream.get_json("/api/tags", self._pace.list_timeout))
            except GatewayError as error:
                if time.monotonic() - reminded >= self._pace.remind:
                    reminded = time.monotonic()
                    self._log.info("waiting", url=self._upstream.base_url, reason=error.message)
            await asyncio.sleep(self._pace.poll)
