"""The results, as a table and as JSON."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .figures import median, number, ratio
from .measures import COMMON, CROWD, KEPT, Values
from .systems import DIRECT, GATEWAY, LITELLM, LITELLM_STREAMS, NGINX, STREAMS
from .wire import DIALECTS

# The share of the cores that other processes may take.
DISTURBED = 0.05

Key = tuple[str, str]  # measure, path


@dataclass(frozen=True)
class Measure:
    """A row of the table; `added`: the upstream's own share is subtracted."""

    key: str
    title: str
    added: bool = False
    compared: bool = False


MEASURES = (
    Measure("cpu", f"CPU a token, µs, {STREAMS} streams", compared=True),
    Measure("delay_p50", "added delay a token, µs, p50", added=True),
    Measure("delay_p99", "added delay a token, µs, p99", added=True),
    Measure("single_p50", "added to first token, ms, one client, p50", added=True),
    Measure("single_p99", "added to first token, ms, one client, p99", added=True),
    Measure("burst_p50", f"added to first token, ms, {STREAMS} at once, p50", added=True),
    Measure("burst_p99", f"added to first token, ms, {STREAMS} at once, p99", added=True),
    Measure("crowd_lost", f"{CROWD} streams: lost"),
    Measure("crowd_delay_p50", f"{CROWD} streams: added delay a token, ms, p50", added=True),
    Measure("crowd_delay_p99", f"{CROWD} streams: added delay a token, ms, p99", added=True),
    Measure("most", "most streams at 20 tokens/s", compared=True),
    Measure("answers", f"short answers a second, {KEPT} connections", compared=True),
    Measure("answers_cpu", "CPU a short answer, µs", compared=True),
    Measure("rest", "memory at rest, MB"),
    Measure("stream", "memory a stream, kB"),
)


@dataclass(frozen=True)
class Bar:
    """A target for the gateway alone; `times`: as a multiple of nginx's value."""

    key: str
    path: str
    limit: float
    at_least: bool = False
    times: bool = False


BARS = (
    *(Bar("cpu", dialect.path, 2.0, times=True) for dialect in DIALECTS),
    *(
        Bar(key, dialect.path, limit)
        for key, limit in (("single_p50", 2), ("single_p99", 10), ("burst_p99", 60))
        for dialect in DIALECTS
    ),
    Bar("crowd_lost", COMMON.path, 0),
    Bar("crowd_delay_p99", COMMON.path, 50),
    Bar("answers", COMMON.path, 1000, at_least=True),
    Bar("rest", COMMON.path, 80),
    Bar("stream", COMMON.path, 40),
)


@dataclass
class Report:
    machine: Mapping[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0
    others: float = 0
    limited: set[str] = field(default_factory=set)
    found: dict[Key, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, system: str, path: str, values: Values) -> None:
        for measure, value in values.items():
            self.found[measure, path][system].append(value)

    def values(self, measure: Measure, path: str, system: str) -> list[float]:
        """One value per round."""
        values = self.found[measure.key, path][system]
        if not measure.added:
            return values
        direct = self.found[measure.key, path][DIRECT]
        return [value - base for value, base in zip(values, direct, strict=False)]

    def table(self) -> str:
        """The results as Markdown, with columns aligned for terminals."""
        systems = list(self.versions)
        named = [f"{name} {version}".strip() for name, version in self.versions.items()]
        rows = [["", *named], ["---", *("---:" for _ in systems)]]
        for measure, path in self._rows():
            cells = [self._cell(measure, path, system) for system in systems]
            rows.append([f"{measure.title} `{path}`", *cells])
        widths = [max(len(row[column]) for row in rows) for column in range(len(systems) + 1)]
        lines = []
        for row in rows:
            padded = [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
            lines.append(f"| {' | '.join(padded)} |")
        return "\n".join(lines)

    def notes(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.machine.items()]
        lines.append(
            f"{self.rounds} rounds in {self.seconds:.0f} s; median, and in brackets the least and the most; "
            "2x: times nginx"
        )
        if LITELLM in self.versions:
            lines.append(f"CPU and delay a token with {LITELLM_STREAMS} streams for LiteLLM")
        disturbed = ": too much for more than a first impression" if self.others > DISTURBED else ""
        lines.append(f"other processes had {self.others:.0%} of the cores while this ran{disturbed}")
        for what in sorted(self.limited):
            measure, system = what.split("/", 1)
            lines.append(
                f"{system}, {measure}: upstream and load were busy too; {system} may be better than that"
            )
        return "\n".join(lines)

    def bars(self) -> str:
        lines = []
        measures = {measure.key: measure for measure in MEASURES}
        for bar in BARS:
            measure = measures[bar.key]
            values = self.values(measure, bar.path, GATEWAY)
            nginx = self.values(measure, bar.path, NGINX)
            value = ratio(values, nginx) if bar.times else median(values) if values else None
            if value is None:
                continue
            passed = value >= bar.limit if bar.at_least else value <= bar.limit
            sign, unit = (">=" if bar.at_least else "<="), (" x nginx" if bar.times else "")
            place = f"{measure.key} {bar.path}"
            verdict = "pass" if passed else "FAIL"
            lines.append(f"{verdict}  {place:40} {number(value):>8}{unit}  (bar: {sign} {bar.limit:g}{unit})")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        rows = [
            {
                "measure": measure.key,
                "title": measure.title,
                "path": path,
                "system": system,
                "values": [value if value != float("inf") else None for value in values],
                "times_nginx": ratio(values, self.values(measure, path, NGINX)) if measure.compared else None,
            }
            for measure, path in self._rows()
            for system in self.versions
            if (values := self.values(measure, path, system))
        ]
        facts = {
            "machine": self.machine,
            "versions": self.versions,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "others_share": self.others,
            "limited_by_load": sorted(self.limited),
            "rows": rows,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")

    def _rows(self) -> Iterator[tuple[Measure, str]]:
        for measure in MEASURES:
            for dialect in DIALECTS:
                if any(self.values(measure, dialect.path, system) for system in self.versions):
                    yield measure, dialect.path

    def _cell(self, measure: Measure, path: str, system: str) -> str:
        values = self.values(measure, path, system)
        if not values:
            return ""
        cell = number(median(values))
        if len(values) > 1:
            cell += f" ({number(min(values))}-{number(max(values))})"
        if f"{measure.key}/{system}" in self.limited:
            cell = f"≥ {cell}"
        times = ratio(values, self.values(measure, path, NGINX)) if measure.compared else None
        return f"{cell} {times:.3g}x" if times and system != NGINX else cell
