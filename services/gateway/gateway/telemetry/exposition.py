"""Renders a scrape from the metrics files of all worker slots.

The library parses every key of every file and renders every label of every line at each scrape. For twenty
models on every route and four workers that takes 0.3 s and blocks the event loop for 0.1 s. Here each key is
parsed once; a scrape only adds up the values and writes them after their prepared texts.
"""

import json
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HEADER = 8

# The library's kinds of files whose values are summed over the workers, and of which the largest counts.
SUMMED = frozenset({"counter", "histogram", "summary", "gauge_sum", "gauge_livesum"})
LARGEST = frozenset({"gauge_livemax"})
_length_at = struct.Struct("i").unpack_from


@dataclass(slots=True)
class _Child:
    """One set of labels. The integers index the list of totals; buckets are in the order of `le`."""

    buckets: list[tuple[float, str, int]] = field(default_factory=list)
    others: list[tuple[str, int]] = field(default_factory=list)
    count: str = ""


@dataclass(slots=True)
class _Family:
    head: str
    children: dict[str, _Child] = field(default_factory=dict)


class _File:
    """Index of one file: positions of its values (in doubles), and the total of each."""

    def __init__(self) -> None:
        self.used = HEADER
        self.positions: list[int] = []
        self.totals: list[int] = []


class Exposition:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, int], _File] = {}
        self._known: dict[bytes, int] = {}
        self._families: dict[str, _Family] = {}
        self._one_at_a_time = threading.Lock()

    def text(self) -> str:
        """The text of a scrape. Called in a thread; yields to the event loop's thread repeatedly."""
        with self._one_at_a_time:
            return self._render(self._totals())

    def _totals(self) -> list[float]:
        files: dict[tuple[str, int], _File] = {}
        totals = [0.0] * len(self._known)
        for path in sorted(self._folder.glob("*.db")):
            try:
                with path.open("rb") as opened:
                    # A reused slot has new files for its live gauges.
                    key = path.name, path.stat().st_ino
                    data = opened.read()
            except FileNotFoundError:
                continue  # its worker has just died
            if len(data) < HEADER:
                continue  # the disk was full when it was created
            kind, _, _ = path.stem.rpartition("_")
            if kind not in SUMMED | LARGEST:
                raise ValueError(f"{path.name}: the values of several workers are not combined for this kind")
            file = files[key] = self._files.get(key) or _File()
            self._learn(file, data, kind.partition("_")[0])
            totals.extend([0.0] * (len(self._known) - len(totals)))
            numbers = memoryview(data)[: file.used].cast("d")
            values = zip(file.totals, map(numbers.__getitem__, file.positions), strict=True)
            if kind in LARGEST:
                for total, number in values:
                    totals[total] = max(totals[total], number)
            else:
                for total, number in values:
                    totals[total] += number
            time.sleep(0)
        self._files = files
        return totals

    def _learn(self, file: _File, data: bytes, kind: str) -> None:
        """Parse new entries: length, key, padding to 8 bytes, value and timestamp as doubles."""
        (used,) = _length_at(data)
        while file.used < used:
            (length,) = _length_at(data, file.used)
            key = data[file.used + 4 : file.used + 4 + length]
            value_at = file.used + 4 + length + (8 - (length + 4) % 8)
            if key not in self._known:
                self._known[key] = len(self._known)
                self._add(key, kind, self._known[key])
                time.sleep(0)
            file.positions.append(value_at // 8)
            file.totals.append(self._known[key])
            file.used = value_at + 16

    def _add(self, key: bytes, kind: str, total: int) -> None:
        family_name, name, labels, help_text = json.loads(key)
        if kind == "counter":
            family_name = name
        head = f"# HELP {family_name} {help_text}\n# TYPE {family_name} {kind}\n"
        family = self._families.setdefault(family_name, _Family(head))
        bound = labels.pop("le", None)
        child = family.children.setdefault(_labels(labels), _Child())
        if bound is None:
            child.others.append((f"{name}{_labels(labels)} ", total))
            return
        child.count = f"{family_name}_count{_labels(labels)} "
        child.buckets.append((float(bound), f"{name}{_labels({**labels, 'le': bound})} ", total))
        child.buckets.sort()

    def _render(self, totals: list[float]) -> str:
        parts: list[str] = []
        for family in self._families.values():
            parts.append(family.head)
            for child in family.children.values():
                below = 0.0
                for _, text, total in child.buckets:
                    below += totals[total]
                    parts.append(f"{text}{below!r}\n")
                if child.count:
                    parts.append(f"{child.count}{below!r}\n")
                for text, total in child.others:
                    parts.append(f"{text}{totals[total]!r}\n")
            time.sleep(0)
        return "".join(parts)


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    quoted = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    return f"{{{quoted}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
