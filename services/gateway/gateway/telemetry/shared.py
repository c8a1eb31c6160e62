"""Where the workers keep their counts: a folder of files in memory, one set of files a place.

A worker that dies is replaced, and its replacement takes its place and goes on counting in its files. So
nothing that a dead worker has counted is lost, and there are no more files than workers have run at a time.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

_folder: Path | None = None
_place = "master"


def set_up() -> None:
    """Makes the folder, once in a master, before metrics.py is imported: it decides how counts are kept."""
    global _folder
    if _folder is None:
        # On a disk, counting would wait for it whenever the system writes the pages back.
        memory = "/dev/shm"  # noqa: S108
        _folder = Path(
            tempfile.mkdtemp(prefix="sluice-metrics-", dir=memory if os.access(memory, os.W_OK) else None)
        )
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_folder)  # where the library looks for it


def clear() -> None:
    if _folder:
        shutil.rmtree(_folder)


def folder() -> Path | None:
    return _folder


def free_place(taken: Iterable[str]) -> str:
    occupied = set(taken)
    return next(str(number) for number in count() if str(number) not in occupied)


def take(place: str) -> None:
    """In the new worker."""
    global _place
    _place = place


def place() -> str:
    """Whose files this process counts in."""
    return _place


def give_up(place: str) -> None:
    """Its worker is gone, and with it what was going on in it; what it has counted stays."""
    mark_process_dead(place)  # type: ignore[no-untyped-call]
