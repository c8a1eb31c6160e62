"""`make bench`: compares nginx, the gateway, both in a row, and LiteLLM if it is installed."""

import argparse
import gc
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.processes import ROOT

from .cores import BenchError, choose, machine, pin
from .figures import median
from .measures import COMMON, FULL, QUICK, Bench, Values
from .report import Report
from .systems import LITELLM, NAMES, System, has_peers, systems, upstream
from .wire import Dialect

# The full run: as many rounds as fit into SECONDS, at most ROUNDS.
SECONDS = 280
ROUNDS = 5
# Time that the search for the most streams takes for one system.
SEARCH_SECONDS = 15

Job = tuple[System, Dialect, Callable[[System, Dialect], Values]]


def run(arguments: argparse.Namespace) -> Report:
    """Raises BenchError."""
    began = time.monotonic()
    cores = choose()
    report = Report(machine(cores))
    wanted = tuple(name for name in arguments.systems or NAMES if name != LITELLM or _peer(arguments))
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream(cores, Path(folder)) as model,
        systems(wanted, model, cores, Path(folder)) as running,
    ):
        pin(cores.load)
        # A pause of the garbage collector would count as a delay.
        gc.collect()
        gc.disable()
        report.versions = {system.name: system.version for system in running}
        bench = Bench(model, cores, QUICK if arguments.quick else FULL)
        _say(f"{', '.join(report.versions)}; {cores}")
        for system in running:
            _measure(report, (system, _common(system), bench.memory))
        search = 0 if arguments.quick else SEARCH_SECONDS * len(running)
        rounds = 1 if arguments.quick else arguments.rounds
        while report.rounds < rounds:
            round_began = time.monotonic()
            for job in _round(bench, [model.direct, *running], first=report.rounds == 0):
                _measure(report, job)
            report.rounds += 1
            now = time.monotonic()
            if now + (now - round_began) + search > began + SECONDS:
                break
        for system in running if search else []:
            cpu = median(report.found["cpu", _common(system).path][system.name])
            values = bench.most(system, COMMON, cpu)
            report.add(system.name, COMMON.path, values)
            _say(f"{system.name}: {values['most']:.0f} streams at most")
    report.others, report.limited = bench.others, bench.limited
    report.seconds = time.monotonic() - began
    return report


def _peer(arguments: argparse.Namespace) -> bool:
    if arguments.quick or not has_peers():
        _say(
            "without LiteLLM: "
            + ("QUICK leaves it out" if arguments.quick else "`make bench-peers` installs it")
        )
        return False
    return True


def _round(bench: Bench, running: list[System], *, first: bool) -> list[Job]:
    """The jobs of a round. The systems alternate, so that other load on the machine affects all of them."""
    own = [system for system in running if system.name != LITELLM]
    jobs: list[Job] = []
    for dialect in own[0].dialects:
        for measure in (bench.steady, bench.waits):
            jobs += [(system, dialect, measure) for system in running if dialect in system.dialects]
    # More than LiteLLM can handle: it would take a minute to become idle.
    jobs += [(system, COMMON, bench.crowd) for system in own]
    jobs += [(system, COMMON, bench.answers) for system in running]
    # Its burst alone takes ten seconds.
    return [job for job in jobs if first or job[0].name != LITELLM or job[2] != bench.waits]


def _common(system: System) -> Dialect:
    return COMMON if COMMON in system.dialects else system.dialects[0]


def _measure(report: Report, job: Job) -> None:
    system, dialect, measure = job
    try:
        values = measure(system, dialect)
    except OSError as error:
        raise BenchError(f"{system.name}, {dialect.path}, {measure.__name__}: {error}") from error
    report.add(system.name, dialect.path, values)
    shown = ", ".join(f"{name} {value:,.1f}" for name, value in values.items())
    _say(f"round {report.rounds + 1}  {system.name:16} {dialect.path:21} {shown}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute, no LiteLLM")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at most so many (%(default)s)")
    parser.add_argument("--system", dest="systems", action="append", choices=NAMES, help="only this one")
    parser.add_argument("--bars", action="store_true", help="say which bars the gateway reaches")
    parser.add_argument("--out", type=Path, default=ROOT / ".run" / "bench.json", help="%(default)s")
    arguments = parser.parse_args()
    # So that started processes are stopped on SIGTERM too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A stream takes up to two descriptors.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        report = run(arguments)
    except BenchError as error:
        _say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    report.write(arguments.out)
    print(f"\n{report.table()}\n\n{report.notes()}")
    if arguments.bars:
        print(f"\n{report.bars()}")
    _say(f"\nall of it: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
