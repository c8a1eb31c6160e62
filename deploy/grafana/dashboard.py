"""Generates Grafana's JSON from the description in sluice.yaml: `python -m deploy.grafana.dashboard`.

The JSON is committed too, because Grafana reads it as it is; a test checks that the two agree.
"""

import json
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "sluice.yaml"
DASHBOARD = FOLDER / "dashboards" / "sluice.json"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
SCREEN_WIDTH = 24
HEIGHTS = {"stat": 4, "timeseries": 7, "table": 5}


def build(source: dict[str, Any]) -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for number, row in enumerate(source["rows"], 1):
        position = {"x": 0, "y": y, "w": SCREEN_WIDTH, "h": 1}
        panels.append(
            {
                "id": number,
                "type": "row",
                "title": row["title"],
                "collapsed": False,
                "gridPos": position,
                "panels": [],
            }
        )
        row_panels, y = _lay_out(row["panels"], y + 1)
        panels += row_panels
    return {
        "uid": source["uid"],
        "title": source["title"],
        "schemaVersion": 41,
        "tags": ["sluice"],
        "timezone": "browser",
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,  # one crosshair for all panels
        "links": [_ALERTS],
        "templating": {"list": [_MODEL]},
        "panels": panels,
    }


def _lay_out(panels: list[dict[str, Any]], y: int) -> tuple[list[dict[str, Any]], int]:
    """Panels side by side until the screen is full; returns them and where the next row begins."""
    placed, x, height = [], 0, 0
    for panel in panels:
        if x + panel["width"] > SCREEN_WIDTH:
            x, y, height = 0, y + height, 0
        own = panel.get("height") or HEIGHTS[panel.get("kind", "timeseries")]
        placed.append({**_panel(panel), "gridPos": {"x": x, "y": y, "w": panel["width"], "h": own}})
        x, height = x + panel["width"], max(height, own)
    return placed, y + height


def _panel(panel: dict[str, Any]) -> dict[str, Any]:
    kind = panel.get("kind", "timeseries")
    result = {
        "id": panel["id"],
        "type": kind,
        "title": panel["title"],
        "description": panel["description"],
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": expr,
                "legendFormat": legend,
                **({"instant": True, "format": "table"} if kind == "table" else {"range": True}),
            }
            for index, (legend, expr) in enumerate(panel["queries"].items())
        ],
        "fieldConfig": {"defaults": _defaults(panel, kind), "overrides": _colors(panel)},
        "options": _OPTIONS[kind],
    }
    if kind == "table":
        result["transformations"] = [
            {"id": "filterFieldsByName", "options": {"include": {"names": panel["columns"]}}}
        ]
    return result


def _defaults(panel: dict[str, Any], kind: str) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.get("unit", "none")}
    if kind == "table":
        return {**defaults, "noValue": panel.get("none", "-")}
    defaults["min"] = 0
    if "max" in panel:
        defaults["max"] = panel["max"]
    if "none" in panel:
        defaults["noValue"] = panel["none"]
    if "words" in panel:
        texts = {str(value): {"text": text} for value, text in panel["words"].items()}
        defaults["mappings"] = [{"type": "value", "options": texts}]
    thresholds = panel.get("thresholds", {"green": None})
    steps = [{"color": color, "value": value} for color, value in thresholds.items()]
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if kind == "stat":
        return {**defaults, "color": {"mode": "thresholds"}}
    defaults["color"] = {"mode": "palette-classic"}
    defaults["custom"] = {
        "drawStyle": "line",
        "lineWidth": 2,
        "fillOpacity": 25 if panel.get("stacked") else 5,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.get("stacked") else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if "thresholds" in panel else "off"},
    }
    return defaults


def _colors(panel: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "matcher": {"id": "byName", "options": legend},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
        }
        for legend, color in panel.get("colors", {}).items()
    ]


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}

# Where Compose publishes Prometheus by default.
_ALERTS = {
    "type": "link",
    "title": "Alerts, and what to do",
    "url": "http://127.0.0.1:9090/alerts",
    "targetBlank": True,
}

_MODEL = {
    "name": "model",
    "label": "Model",
    "type": "query",
    "datasource": DATASOURCE,
    "query": "label_values(gen_ai_client_operation_duration_seconds_count, gen_ai_request_model)",
    "refresh": 2,
    "includeAll": True,
    "allValue": ".*",
    "multi": True,
    "current": {"text": ["All"], "value": ["$__all"]},
}


def main() -> None:
    DASHBOARD.write_text(render())


def render() -> str:
    return json.dumps(build(yaml.safe_load(SOURCE.read_text())), indent=1) + "\n"


if __name__ == "__main__":
    main()
