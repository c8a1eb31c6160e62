"""The assignment of cores, and a description of the machine."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class BenchError(Exception):
    """The benchmark cannot run here, or a measured system failed."""


@dataclass(frozen=True)
class Cores:
    """Upstream and load share a core if there are only two."""

    proxy: int
    upstream: int
    load: int

    @property
    def comparable(self) -> bool:
        return self.proxy != self.load

    def __str__(self) -> str:
        if not self.comparable:
            return (
                f"everything on core {self.proxy}, the only one: the numbers are not comparable with others"
            )
        if self.upstream == self.load:
            return f"proxies on core {self.proxy}, upstream and load on core {self.load}"
        return f"proxies on core {self.proxy}, upstream on {self.upstream}, load on {self.load}"


def choose() -> Cores:
    """Raises BenchError."""
    if not hasattr(os, "sched_setaffinity"):
        raise BenchError("the bench pins processes to cores and reads /proc, so it needs Linux")
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[min(1, len(usable) - 1)], usable[min(2, len(usable) - 1)])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started within this context stay on the core."""
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(core: int) -> None:
    """Raises BenchError."""
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise BenchError(f"this process may not be pinned to core {core}: {error.strerror}") from None


def machine(cores: Cores) -> dict[str, str]:
    fields = dict(
        line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line
    )
    models = [value.strip() for name, value in fields.items() if name.strip() == "model name"]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "pinning": str(cores),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
