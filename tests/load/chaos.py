"""`make chaos`: very many streams through an upstream with random faults; then answers whose clients leave
and come back; then shorter runs with faults around the gateway too; then a hundred streams next to malicious
clients.
"""

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.fakes.ollama import FakeOllama
from tests.integration.programs import SERVE, gateway_as, nginx
from tests.load import contention, remains, stalls, storm, together
from tests.load.returning.clients import SETTINGS as RETURNING_SETTINGS
from tests.load.returning.trial import Trial
from tests.outputs import broken, full, unread
from tests.processes import Process, wait_until
from tests.valkey import valkey

# Limit for gaps in a stream while others run, as the median of RUNS.
LONGEST_STALL_SECONDS = 0.05
RUNS = 3
KEPT = 100


@dataclass(frozen=True)
class Surroundings:
    """`refuses`: a 503 with Retry-After counts as an answer."""

    name: str
    output: Callable[[], AbstractContextManager[int | None]] = nullcontext
    command: Sequence[str] = SERVE
    at_once: int = storm.AT_ONCE
    refuses: bool = False


def limited(options: str) -> tuple[str, ...]:
    """The command of a gateway with the shell's `ulimit`."""
    return ("/bin/sh", "-c", f'ulimit {options} && exec "$@"', "sh", *SERVE)


SURROUNDINGS = (
    Surroundings("its output is not read", unread),
    Surroundings("the reader of its output is gone", broken),
    Surroundings("the disk with its output is full", full),
    Surroundings("1024 descriptors, unless it asks for more", command=limited("-Sn 1024"), at_once=1000),
    Surroundings("1024 descriptors and no more", command=limited("-n 1024"), at_once=1000, refuses=True),
)
ATTACKS = {
    "streams alone": None,
    "beside malicious bodies": "bodies",
    "beside slow readers that leave at once": "readers",
}


TOGETHER = f"{together.SLOTS} slots for three gateways"
CONTENDED = f"{contention.SLOTS} slots for all"
RETURNING = "clients that leave and come back"


@dataclass
class Row:
    """The result of one mode; times in seconds."""

    mode: str
    streams: int
    wrong: list[str] = field(default_factory=list)
    left: str = "nothing"
    stall: float | None = None
    gap: float | None = None

    @property
    def good(self) -> bool:
        return not self.wrong and self.left == "nothing"

    def __str__(self) -> str:
        cells = [
            self.mode,
            f"{self.streams:,}",
            f"{len(self.wrong)}",
            self.left,
            _ms(self.stall),
            _ms(self.gap),
        ]
        return f"| {' | '.join(cells)} |"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.0f}"


@contextmanager
def failures(row: Row) -> Iterator[None]:
    """Records a gateway that does not start, settle or stop as the mode's failure; the run continues."""
    try:
        yield
    except (AssertionError, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
        failed: BaseException | None = error
        while failed:  # the first failure is the context of later ones
            row.wrong.append(f"{type(failed).__name__}: {failed}"[:300])
            failed = failed.__context__


def in_full(streams: int, seed: int) -> Row:
    """The long run, in which memory also must not grow."""
    row = Row("as it should be", streams)
    with _running(row, Surroundings(row.mode), "warning") as (fake, process, url):
        first = asyncio.run(storm.storm(url, 1000, seed, show_progress=True))
        # After a scrape, for which the worker keeps a thread and some megabytes.
        row.left = _left(lambda: storm.settled(url, fake))
        before = remains.memory_of_worker(process)
        report = asyncio.run(storm.storm(url, streams - 1000, seed + 1, show_progress=True))
        row.left = _left(lambda: storm.settled(url, fake))
        after = remains.memory_of_worker(process)
        row.stall = remains.longest_stall(url)
        row.wrong += first.wrong + report.wrong + ["busy"] * (first.busy + report.busy)
        print(f"{dict(first.outcomes + report.outcomes)}")
        print(f"memory: {before / 1e6:.1f} MB after 1,000 streams, {after / 1e6:.1f} MB at the end")
        if after > 1.1 * before:
            row.wrong.append("more memory at the end than after 1,000 streams")
    return row


def within(surroundings: Surroundings, streams: int, seed: int) -> Row:
    """Several runs; the stall is their median."""
    row = Row(surroundings.name, RUNS * streams)
    stalls: list[float] = []
    for run in range(RUNS):
        # Logs a line for every request, more than fit into any pipe.
        with _running(row, surroundings, "info") as (fake, _, url):
            work = storm.storm(url, streams, seed + run, show_progress=False, at_once=surroundings.at_once)
            report = asyncio.run(work)
            row.wrong += report.wrong + ([] if surroundings.refuses else ["busy"] * report.busy)
            row.wrong += storm.kept(url, KEPT)
            left = _left(lambda: storm.settled(url, fake))
            row.left = left if row.left == "nothing" else row.left
            stall = remains.longest_stall(url)
            stalls += [] if stall is None else [stall]
    row.stall = statistics.median(stalls) if stalls else None
    _judge(row, row.stall)
    return row


def contended(mode: str, requests: int, seed: int) -> Row:
    """Few slots for all requests; at the end slots, queue and counters must be exact."""
    row = Row(mode, requests)
    with _running(row, Surroundings(mode), "warning", contention.SETTINGS) as (fake, _, url):
        contention.prepare(fake)
        tally = asyncio.run(contention.contend(url, requests, seed))
        row.left = _left(lambda: contention.left_over(url, fake))
        row.stall = remains.longest_stall(url)
        row.wrong += tally.report.wrong + contention.disagreements(url, tally)
        print(f"{tally.sent} requests, {tally.refused} refused, {tally.stopped} stopped")
        print(f"{contention.counted(url)}")
    return row


def several(mode: str, requests: int, seed: int) -> Row:
    """Gateways that share one queue: two are killed on the way, and one is added."""
    row = Row(mode, requests)
    for gateways, kills in ((1, 0), (3, 0), (3, 2)):
        share = requests if kills else requests // 5
        with (
            failures(row),
            tempfile.TemporaryDirectory() as folder,
            FakeOllama().running() as fake,
            valkey(Path(folder)) as server,
            ExitStack() as stack,
        ):
            trial = together.Together(fake, server, Path(folder), stack)
            for _ in range(gateways):
                trial.add()
            tally = asyncio.run(trial.run(share, seed, kills))
            row.left = _left(trial.left_over)
            row.wrong += tally.report.wrong
            if fake.most_answering > together.SLOTS:
                row.wrong.append(f"{fake.most_answering} at once at the model server")
            print(
                f"{gateways} gateways, {kills} killed: {tally.asked} requests, {tally.lost} lost, "
                f"at most {fake.most_answering} at once; median wait of the greedy caller "
                f"{tally.wait(greedy=True):.2f} s, of the modest ones {tally.wait(greedy=False):.2f} s"
            )
    return row


def returning(mode: str, answers: int, seed: int) -> Row:
    """Answers that stay; at the end each was read once and in full, and nothing is left of them."""
    row = Row(mode, answers)
    with (
        _running(row, Surroundings(mode), "info", RETURNING_SETTINGS) as (fake, process, url),
        nginx(urlsplit(url).port or 0) as (_, edge),
    ):
        trial = Trial(fake, process, url, edge)
        tally = trial.run(answers, seed)
        row.left = _left(trial.left_over)
        row.stall = remains.longest_stall(url)
        row.wrong += trial.wrong
        print(f"{dict(tally.ways)}, {tally.connections} connections")
        print(f"memory: {trial.memory / 1e6:.1f} MB at most, {trial.most_kept / 1e6:.1f} MB of it kept")
    return row


@contextmanager
def _running(
    row: Row, surroundings: Surroundings, level: str, environment: Mapping[str, str] = storm.SETTINGS
) -> Iterator[tuple[FakeOllama, Process, str]]:
    settings = {**environment, "GATEWAY_LOG_LEVEL": level}
    with (
        failures(row),
        tempfile.TemporaryDirectory() as folder,
        FakeOllama().running() as fake,
        surroundings.output() as output,
        gateway_as(surroundings.command, output, fake.url, Path(folder), settings) as (process, url),
    ):
        storm.prepare(fake)
        yield fake, process, url


def _left(left_over: Callable[[], list[str]]) -> str:
    try:
        wait_until(lambda: not left_over(), 30, "everything is settled")
    except AssertionError:
        return ", ".join(left_over()) or "nothing, but late"
    return "nothing"


def beside(mode: str, attack: str | None) -> Row:
    """The median of several runs."""
    row = Row(mode, RUNS * stalls.STREAMS)
    gaps: list[float] = []
    own: list[float] = []
    for _ in range(RUNS):
        with failures(row), tempfile.TemporaryDirectory() as folder:
            found = stalls.measure(attack, Path(folder))
            gaps.append(found.gap)
            own += [] if found.loop is None else [found.loop]
            row.wrong += ["a stream without a terminal event"] * found.unfinished
            row.wrong += [f"the attacker got {word}" for word in found.attack.elements() if word > "499"]
    row.gap = statistics.median(gaps) if gaps else None
    row.stall = statistics.median(own) if own else None
    if attack:
        _judge(row, row.gap if row.stall is None else row.stall)
    return row


def _judge(row: Row, stall: float | None) -> None:
    if stall and stall > LONGEST_STALL_SECONDS:
        row.wrong.append(f"the streams stalled for {_ms(stall)} ms")


def modes(streams: int, fewer: int, seed: int) -> dict[str, Callable[[], Row]]:
    return {
        "as it should be": lambda: in_full(streams, seed),
        CONTENDED: partial(contended, CONTENDED, streams // 2, seed),
        TOGETHER: partial(several, TOGETHER, streams // 2, seed),
        RETURNING: partial(returning, RETURNING, streams // 20, seed),
        **{around.name: partial(within, around, fewer, seed) for around in SURROUNDINGS},
        **{name: partial(beside, name, attack) for name, attack in ATTACKS.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--fewer", type=int, default=2_000, help="in the shorter ones (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", help="only those whose name has this in it")
    arguments = parser.parse_args()
    # The clients and the fake upstream are here, so a stream takes two.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows = []
    for name, run in modes(arguments.streams, arguments.fewer, arguments.seed).items():
        if (arguments.mode or "") in name:
            print(name, file=sys.stderr, flush=True)
            rows.append(run())
            print("".join(f"{wrong}\n" for wrong in rows[-1].wrong[:20]), end="", flush=True)
    print(
        "| mode | streams | wrong | left over | longest stall of the loop, ms | longest gap of a stream, ms |"
    )
    print("|---|---:|---:|---|---:|---:|")
    print("\n".join(map(str, rows)))
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
