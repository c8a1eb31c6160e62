"""Progress of one pull: sums over its lines, and the log lines that report it."""

import time
from typing import Any

from structlog.typing import FilteringBoundLogger

# Shortest time over which a speed is measured.
SPEED_WINDOW = 1.0

UNITS = ("B", "kB", "MB", "GB", "TB")


class Progress:
    """One attempt to pull one model. Sums are over the layers that Ollama has named so far."""

    def __init__(self, model: str, report_every: float, log: FilteringBoundLogger) -> None:
        self.model = model
        self._log = log
        self.status = ""
        self._report_every = report_every
        self._statuses: set[str] = set()
        self._layers: dict[str, tuple[int, int]] = {}
        self._resumed = 0
        self._started = self._reported = self._measured = time.monotonic()
        self._measured_bytes = 0
        self._speed: float | None = None

    @property
    def downloading(self) -> bool:
        """Whether Ollama is downloading, when it reports every arrival of bytes; other phases are silent."""
        return self.status.startswith("pulling") or not self.status

    @property
    def fetched(self) -> int:
        """Bytes that came during this attempt."""
        return self._done - self._resumed

    @property
    def _done(self) -> int:
        return sum(done for done, _ in self._layers.values())

    def take(self, line: dict[str, Any]) -> bool:
        """Process a line; whether it shows any progress. A stalled download repeats its last line."""
        self.status = str(line.get("status", ""))
        moved = new_status = self.status not in self._statuses
        self._statuses.add(self.status)
        if line.get("digest"):
            digest, layer = str(line["digest"]), (_count(line, "completed"), _count(line, "total"))
            if digest not in self._layers:
                self._resumed += layer[0]
            moved = moved or self._layers.get(digest) != layer
            self._layers[digest] = layer
        now = time.monotonic()
        if self.status != "success" and (new_status or now - self._reported >= self._report_every):
            self._reported = now
            self._log.info("pulling", model=self.model, status=self.status, **self._numbers(now))
        return moved

    def log_pulled(self) -> None:
        seconds = time.monotonic() - self._started
        self._log.info(
            "pulled", model=self.model, fetched_bytes=self.fetched, duration_seconds=round(seconds, 1)
        )

    def _numbers(self, now: float) -> dict[str, Any]:
        total = sum(total for _, total in self._layers.values())
        # Ollama counts bytes twice that it fetches again after an interruption.
        done = sum(min(layer) for layer in self._layers.values())
        if not total:
            return {}
        if now - self._measured >= SPEED_WINDOW:
            self._speed = max(0, self.fetched - self._measured_bytes) / (now - self._measured)
            self._measured, self._measured_bytes = now, self.fetched
        percent = 100 * done // total
        words = [f"{percent}% of {_size(total)}"]
        numbers: dict[str, Any] = {"percent": percent, "done_bytes": done, "total_bytes": total}
        if self._speed is not None and done < total:
            words.append(f"{_size(self._speed)}/s")
            numbers["bytes_per_second"] = round(self._speed)
            if self._speed:
                numbers["eta_seconds"] = round((total - done) / self._speed)
                words.append(f"{_duration(numbers['eta_seconds'])} left")
        return {"progress": ", ".join(words), **numbers}


def _count(line: dict[str, Any], field: str) -> int:
    value = line.get(field)
    return value if isinstance(value, int) else 0


def _size(count: float) -> str:
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.1f} {UNITS[unit]}" if unit and count < 9.95 else f"{count:.0f} {UNITS[unit]}"


def _duration(seconds: int) -> str:
    if seconds < 100:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
