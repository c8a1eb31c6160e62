"""Where the workers keep their counts: a folder of files in memory, one set of files a place.

A worker that dies is replaced, and its replacement takes its place and goes on counting in its files. So
nothing that a dead worker has counted is lost, and there are no more files than workers have run at a time.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO

from prometheus_client.multiprocess import mark_process_dead

METRICS = "gateway.telemetry.metrics"
PREFIX = "sluice-metrics-"
MEMORY = Path("/dev/shm")  # noqa: S108

# What one worker's first files take; more is found as they grow.
LEAST_BYTES = 512 * 1024

_folder: Path | None = None
_lock: IO[str] | None = None  # held by the master and its workers for as long as one of them lives
_place = "master"


def set_up() -> None:
    """Makes the folder, once in a master. Where there is no room for one, each process counts for itself.

    Raises RuntimeError if metrics.py has been imported: it has decided then how counts are kept.
    """
    global _folder, _lock
    if _folder:
        return  # gunicorn reads its configuration again when it reloads
    if METRICS in sys.modules:
        raise RuntimeError(f"{METRICS} was imported before the workers' folder was made")
    # On a disk, counting would wait for it whenever the system writes the pages back.
    for where in (MEMORY, Path(tempfile.gettempdir())):
        if _folder is None and os.access(where, os.W_OK):
            _remove_stale(where)
            _folder = _made_in(where)
    if _folder:
        _lock = (_folder / "lock").open("w")
        fcntl.flock(_lock, fcntl.LOCK_EX)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_folder)  # where the library looks for it


def _made_in(where: Path) -> Path | None:
    """A folder with room in it, or None."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
    except OSError:
        return None
    try:
        with (folder / "lock").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, LEAST_BYTES)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return folder


def _remove_stale(where: Path) -> None:
    """The folders of gateways that were killed and could not do it themselves."""
    for lock in where.glob(f"{PREFIX}*/lock"):
        with suppress(OSError), lock.open() as opened:  # another user's, or somebody still holds it
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent)


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
    if _folder:
        mark_process_dead(place)  # type: ignore[no-untyped-call]
