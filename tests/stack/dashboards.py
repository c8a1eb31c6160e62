"""`make dashboards`: pictures of the dashboard's rows, from a run of its own or from any Prometheus."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import preview

from tests.processes import ROOT
from tests.stack.monitored import monitored, traffic

FOLDER = ROOT / "deploy/grafana/preview"
ROUND = 60  # seconds of traffic


@contextmanager
def watched_run(rounds: int) -> Iterator[str]:
    """The address of a Prometheus that has watched a stack under traffic for about so many minutes."""
    with monitored() as (stack, url):
        for left in range(rounds, 0, -1):
            print(f"{left} rounds of traffic more", file=sys.stderr, flush=True)
            # What is drawn ends amid traffic.
            asyncio.run(traffic(stack, ROUND, crash=left > 1))
        yield url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a Prometheus that knows something already")
    parser.add_argument("--minutes", type=int, default=6, help="of the run, and of what is drawn")
    arguments = parser.parse_args()
    if arguments.url:
        pictures = draw(arguments.url.rstrip("/"), arguments.minutes)
    else:
        with watched_run(arguments.minutes) as url:
            pictures = draw(url, arguments.minutes)
    for picture in pictures:
        print(f"{picture.relative_to(ROOT)}  {os.path.getsize(picture) // 1000} kB")


def draw(url: str, minutes: int) -> list[Path]:
    FOLDER.mkdir(exist_ok=True)
    now = time.time()
    return preview.draw(preview.Window(url, now - minutes * 60, now), FOLDER)


if __name__ == "__main__":
    main()
