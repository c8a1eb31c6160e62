"""`make servers`: what clients see of three model servers of which one fails, comes, goes or heals.

Sixty clients ask again and again, through nginx and the gateway, three embedded engines, each behind a proxy
that can fail. Meanwhile one engine after the other fails, in one way after the other. Then: what a
conversation gains that stays at its server, and a name whose addresses change.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.load.servers.addresses import change
from tests.load.servers.conversations import SLOTS, TURNS, converse
from tests.load.servers.fleet import Member, engines, in_front_of
from tests.load.servers.proxy import Fault
from tests.load.servers.scenarios import HEAD, Plan, faulty, killed, stopped, suffer

PLANS = {
    "killed, started 3 s later": Plan(killed, seconds=3, every=10, total=60),
    "stopped for 10 s (SIGSTOP)": Plan(stopped, seconds=10, every=25, total=75),
    "answers 500 to everything for 10 s": Plan(faulty(Fault.BROKEN), seconds=10, every=25, total=75),
    "answers 500 to POST for 10 s": Plan(faulty(Fault.FAILING), seconds=10, every=25, total=75),
    "has lost its model for 10 s": Plan(faulty(Fault.LOST), seconds=10, every=25, total=75),
    # A trial lasts 30 s, and may have begun when the server heals.
    "never answers POST for 45 s": Plan(faulty(Fault.SILENT), seconds=45, every=75, total=80, to_return=45),
}


def fail(members: list[Member], folder: Path) -> bool:
    """Whether every plan went well."""
    good = True
    print(HEAD, flush=True)
    for name, plan in PLANS.items():
        with in_front_of(members, folder) as stack:
            result = asyncio.run(suffer(stack, plan))
        print(f"| {name} | {result.row()} |", flush=True)
        for problem in result.problems:
            good = False
            print(f"  {problem}", file=sys.stderr, flush=True)
    return good


def talk(folder: Path) -> bool:
    """Whether conversations gain something."""
    medians = []
    for is_recognizable in (True, False):
        with engines(folder, SLOTS) as members, in_front_of(members, folder) as stack:
            found = asyncio.run(converse(stack.url, is_recognizable=is_recognizable))
        medians.append(found.median(1, TURNS))
        kind = "stays at its server" if is_recognizable else "is not recognized"
        print(
            f"a conversation {kind}: prompt evaluation of its first turn {found.median(0, 1):.2f} s, "
            f"of later ones {found.median(1, TURNS):.2f} s (medians), {found.failed} failed",
            flush=True,
        )
    return medians[0] < medians[1]


def look_up(members: list[Member]) -> bool:
    """Whether nobody noticed the change of addresses."""
    report, wrong = asyncio.run(change(members))
    print(f"1, 3 and 1 addresses: {report.whole} answers, {len(report.lost)} lost, {len(report.wrong)} wrong")
    for problem in (*report.lost, *report.wrong, *wrong):
        print(f"  {problem}", file=sys.stderr)
    return not (report.lost or report.wrong or report.begun_and_failed or wrong)


def main() -> int:
    argparse.ArgumentParser(prog="make servers", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        with engines(Path(name)) as members:
            good = [fail(members, Path(name)), look_up(members)]
        good.append(talk(Path(name)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
