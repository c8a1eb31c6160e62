"""Draws each row of the dashboard from what a Prometheus knows, one picture a row.

Grafana draws better, but not without a browser. What is drawn here are the same queries over the same time,
with the units and thresholds of the dashboard's own JSON.
"""

import json
import math
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

DASHBOARD = Path(__file__).parent / "dashboards" / "sluice.json"
COLORS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#b877d9", "#f2495c", "#8ab8ff", "#c8f2c2"]
NAMED = {
    "green": "#73bf69",
    "blue": "#5794f2",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "semi-dark-red": "#e02f44",
    "purple": "#b877d9",
    "transparent": "none",
}
BACKGROUND, FOREGROUND, FAINT = "#181b1f", "#d8d9da", "#3a3d44"
INCHES_A_COLUMN, INCHES_A_LINE, DPI = 0.58, 0.34, 80


@dataclass(frozen=True)
class Window:
    """Where and of when is asked."""

    prometheus: str
    start: float
    end: float
    step: float = 5

    def query(self, expr: str) -> list[dict[str, Any]]:
        # What Grafana fills in. It takes four scrapes for a rate; so does this.
        filled = {"$__rate_interval": "1m", "$__range": f"{self.end - self.start:.0f}s", "$model": ".*"}
        for name, text in filled.items():
            expr = expr.replace(name, text)
        asked = urllib.parse.urlencode(
            {"query": expr, "start": self.start, "end": self.end, "step": self.step}
        )
        url = f"{self.prometheus}/api/v1/query_range?{asked}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the caller's own Prometheus
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def draw(window: Window, folder: Path) -> list[Path]:
    """The pictures, named after the rows' first words."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    mpl.rcParams.update(
        {
            "font.size": 8,
            "text.color": FOREGROUND,
            "axes.edgecolor": FAINT,
            "axes.facecolor": BACKGROUND,
            "axes.labelcolor": FOREGROUND,
            "xtick.color": FOREGROUND,
            "ytick.color": FOREGROUND,
        }
    )
    pictures = []
    for title, row in _rows(panels):
        path = folder / f"{title.partition(':')[0].lower().replace(' ', '-')}.png"
        _draw_row(title, row, window).savefig(path, dpi=DPI, facecolor="#111217")
        pictures.append(path)
    return pictures


def _rows(panels: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    heads = [index for index, panel in enumerate(panels) if panel["type"] == "row"]
    for head, following in zip(heads, [*heads[1:], len(panels)], strict=True):
        yield panels[head]["title"], panels[head + 1 : following]


def _draw_row(title: str, row: list[dict[str, Any]], window: Window) -> Figure:
    """Every panel where its gridPos says."""
    top = min(panel["gridPos"]["y"] for panel in row)
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in row) - top
    width, height = 24 * INCHES_A_COLUMN, lines * INCHES_A_LINE + 0.35
    figure = Figure(figsize=(width, height))
    figure.text(0.006, 1 - 0.1 / height, title, va="top", fontsize=11, weight="bold")
    for panel in row:
        place = panel["gridPos"]
        left, right = place["x"] * INCHES_A_COLUMN + 0.08, place["w"] * INCHES_A_COLUMN - 0.16
        upper = 0.35 + (place["y"] - top) * INCHES_A_LINE
        lower = height - upper - place["h"] * INCHES_A_LINE + 0.08
        box = (
            left / width,
            lower / height,
            right / width,
            (place["h"] * INCHES_A_LINE - 0.12) / height,
        )
        background = figure.add_axes(box, xticks=[], yticks=[])
        background.text(0.08 / right, 1 - 0.08 / (box[3] * height), panel["title"], va="top", weight="bold")
        inner = (
            box[0] + 0.55 / width,
            box[1] + 0.5 / height,
            box[2] - 0.7 / width,
            box[3] - 0.85 / height,
        )
        series = [
            (_legend(target["legendFormat"], one["metric"]), one)
            for target in panel["targets"]
            for one in window.query(target["expr"])
        ]
        if panel["type"] == "timeseries":
            _draw_series(figure.add_axes(inner), panel, series, window)
        elif panel["type"] == "stat":
            _draw_stat(background, panel, series)
        else:
            _draw_table(background, panel, series)
    return figure


def _legend(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def _draw_series(
    axes: Axes, panel: dict[str, Any], series: list[tuple[str, dict[str, Any]]], window: Window
) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    times = [
        window.start + window.step * n for n in range(int((window.end - window.start) / window.step) + 1)
    ]
    dates = [datetime.fromtimestamp(at, UTC) for at in times]
    below = [0.0] * len(times)
    fixed = {
        override["matcher"]["options"]: NAMED[override["properties"][0]["value"]["fixedColor"]]
        for override in panel["fieldConfig"]["overrides"]
    }
    for (legend, one), free_color in zip(series, COLORS * 4, strict=False):
        color = fixed.get(legend, free_color)
        known = {round(float(at)): float(value) for at, value in one["values"]}
        values = [known.get(round(at), math.nan) for at in times]
        if stacked:
            values = [0 if math.isnan(value) else value for value in values]
            upper = [low + value for low, value in zip(below, values, strict=True)]
            axes.fill_between(dates, below, upper, color=color, alpha=0.35, linewidth=0)
            axes.plot(dates, upper, color=color, linewidth=1.2, label=legend)
            below = upper
        else:
            axes.plot(dates, values, color=color, linewidth=1.4, label=legend)
    if defaults["custom"]["thresholdsStyle"]["mode"] == "line":
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] <= max(axes.get_ylim()[1], defaults.get("max", 0)):
                axes.axhline(step["value"], color=NAMED[step["color"]], linestyle="--", linewidth=1)
    axes.set_ylim(0, defaults["max"] * 1.03 if "max" in defaults else None)
    axes.set_xlim(dates[0], dates[-1])
    axes.grid(color=FAINT, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _words(value, defaults)))
    if series:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.5 / (panel["gridPos"]["w"] * INCHES_A_COLUMN), -0.13),
            ncols=7, fontsize=7, frameon=False, labelcolor=FOREGROUND, handlelength=1, columnspacing=1,
        )  # fmt: skip
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=FOREGROUND)


def _draw_stat(axes: Axes, panel: dict[str, Any], series: list[tuple[str, dict[str, Any]]]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    values = [float(value) for _, one in series for _, value in one["values"]]
    known = [value for value in values if not math.isnan(value)]
    color, text = FOREGROUND, defaults.get("noValue", "no data")
    if known:
        reached = [
            s for s in defaults["thresholds"]["steps"] if s["value"] is None or known[-1] >= s["value"]
        ]
        color, text = NAMED[reached[-1]["color"]], _words(known[-1], defaults)
    axes.text(0.5, 0.4, text, ha="center", va="center", fontsize=24, color=color, weight="bold")


def _draw_table(axes: Axes, panel: dict[str, Any], series: list[tuple[str, dict[str, Any]]]) -> None:
    columns = panel["transformations"][0]["options"]["include"]["names"]
    newest = max((one["values"][-1][0] for _, one in series), default=0)
    lines = [
        [one["metric"].get(name, "") for name in columns]
        for _, one in series
        if one["values"][-1][0] == newest
    ]
    if not lines:
        axes.text(
            0.5, 0.4, panel["fieldConfig"]["defaults"]["noValue"], ha="center", va="center", fontsize=14
        )
    for number, line in enumerate([columns, *lines][:5]):
        for column, text in enumerate(line):
            place = (0.03 + column * 0.94 / len(columns), 0.66 - number * 0.15)
            axes.text(*place, text, va="center", weight="bold" if number == 0 else "normal")


def _words(value: float, defaults: dict[str, Any]) -> str:
    """As Grafana writes a value in this unit, shortened."""
    for mapping in defaults.get("mappings", []):
        text = mapping["options"].get(f"{value:g}")
        if text:
            return str(text["text"])
    match defaults["unit"]:
        case "s" if 0 < abs(value) < 1:
            return f"{value * 1000:.3g} ms"
        case "s":
            return f"{value:.3g} s" if value < 600 else f"{value / 60:.3g} min"
        case "percentunit":
            return f"{100 * value:.3g} %"
        case "bytes":
            return f"{value / 2**20:.0f} MiB" if value else "0"
    return f"{value:.3g}"
