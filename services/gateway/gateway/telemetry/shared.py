"""The directory of the workers' metrics files, in memory, with one set of files per worker slot.

The replacement of a dead worker takes its slot and continues its files. So no counts are lost, and there are
never more files than workers at a time.
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

# Size of one worker's first files; they may grow later.
LEAST_BYTES = 512 * 1024

_folder: Path | None = None
_lock: IO[str] | None = None  # held by the master and its workers for as long as one of them lives
_slot = "master"
_is_set_up = False


def set_up() -> None:
    """Create the directory, once in the master. Without space for one, each process counts separately.

    Raises RuntimeError if metrics.py has been imported: it decides at import how values are stored.
    """
    global _is_set_up
    if _is_set_up:
        return  # gunicorn reads its configuration again when it reloads
    if METRICS in sys.modules:
        raise RuntimeError(f"{METRICS} was imported before the metrics directory was created")
    # Not on a disk, where updates would block during write-back.
    for parent in (MEMORY, Path(tempfile.gettempdir())):
        if _folder is None and os.access(parent, os.W_OK):
            _remove_stale(parent)
            _create_in(parent)
    if _folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_folder)  # where the library looks for it
    _is_set_up = True


def _create_in(parent: Path) -> None:
    """Create the directory if there is space for the files."""
    global _folder, _lock
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    except OSError:
        return
    try:
        _lock = (folder / "lock").open("w")
        os.posix_fallocate(_lock.fileno(), 0, LEAST_BYTES)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        return
    fcntl.flock(_lock, fcntl.LOCK_EX)
    # Only now: another gateway that starts would take one that is not locked for a dead gateway's.
    _folder = folder.rename(folder.with_name(folder.name[1:]))


def _remove_stale(parent: Path) -> None:
    """Remove the directories of gateways that were killed."""
    for lock in parent.glob(f"{PREFIX}*/lock"):
        with suppress(OSError), lock.open() as opened:  # another user's, or still in use
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent)


def clear() -> None:
    if _folder:
        shutil.rmtree(_folder)


def folder() -> Path | None:
    return _folder


def free_slot(taken: Iterable[str]) -> str:
    """The lowest slot number that is not taken."""
    occupied = set(taken)
    return next(str(number) for number in count() if str(number) not in occupied)


def take_slot(number: str) -> None:
    """Called in a new worker."""
    global _slot
    _slot = number


def slot() -> str:
    """The slot whose files this process updates."""
    return _slot


def release_slot(number: str) -> None:
    """Drop the live gauges of a dead worker; its counters stay."""
    if _folder:
        mark_process_dead(number)  # type: ignore[no-untyped-call]
