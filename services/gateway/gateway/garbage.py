"""Controls when the garbage collector runs, because it blocks all streams.

Requests leave nothing to collect (tests/faults/test_garbage.py), so collections are pure cost: with a
thousand requests in flight one visits half a million objects, which takes a seventh of a second.
"""

import gc
import resource
from pathlib import Path

# Net allocations that trigger a collection: more than a few thousand requests hold at once.
MAX_OBJECTS = 300_000

# Fewer are not worth a collection.
MIN_OBJECTS = 5_000

# Growth of memory at which a worker that is never idle collects. Thousands of streams need less: it is
# garbage after all, such as a library's cycle in whose few objects there are megabytes.
MAX_GROWTH = 512 * 1024 * 1024


def freeze() -> None:
    """Exempt all existing objects from collection, which saves a worker 6 % of its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(MAX_OBJECTS, 10, 10)


class Collector:
    """Collects at moments that hurt least. Call one of its methods every few seconds."""

    def __init__(self) -> None:
        self._memory = resident_bytes()  # after the last collection

    def while_idle(self) -> None:
        """Collect if worthwhile: no stream runs that it could block."""
        if gc.get_count()[0] > MIN_OBJECTS:
            self._collect()

    def while_busy(self) -> None:
        """Collect if the memory has grown too much: a short stall is better than a killed worker."""
        if resident_bytes() - self._memory > MAX_GROWTH:
            self._collect()

    def _collect(self) -> None:
        gc.collect()
        self._memory = resident_bytes()


def resident_bytes() -> int:
    """The memory of this process: proc(5), statm."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
