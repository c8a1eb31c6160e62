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
SCRAPES = 30  # seconds in which the last of the traffic reaches Prometheus


@contextmanager
def watched_run(seconds: float) -> Iterator[str]:
    """The address of a Prometheus that has watched a stack under traffic for so long."""
    with monitored() as (stack, url):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            print(f"traffic for {left:.0f} s more", file=sys.stderr, flush=True)
            asyncio.run(traffic(stack, min(left, 60)))
            # A pause now and then shows what an idle stack looks like.
            time.sleep(10)
        time.sleep(SCRAPES)
        yield url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a Prometheus that knows something already")
    parser.add_argument("--minutes", type=float, default=6, help="of the run, and of what is drawn")
    arguments = parser.parse_args()
    if arguments.url:
        pictures = draw(arguments.url.rstrip("/"), arguments.minutes)
    else:
        with watched_run(arguments.minutes * 60) as url:
            pictures = draw(url, arguments.minutes)
    for picture in pictures:
        print(f"{picture.relative_to(ROOT)}  {os.path.getsize(picture) // 1000} kB")


def draw(url: str, minutes: float) -> list[Path]:
    FOLDER.mkdir(exist_ok=True)
    now = time.time()
    return preview.draw(preview.Window(url, now - minutes * 60, now), FOLDER)


if __name__ == "__main__":
    main()
