"""Dashboard, alerts and the alerts' test cases are consistent."""

import json
import re
from typing import Any

import pytest
import yaml

from deploy.grafana import dashboard
from tests.processes import ROOT

GRAFANA = ROOT / "deploy/grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards/sluice.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
CASES = [
    case
    for file in (ROOT / "tests/stack/rules").glob("*.yaml")
    for case in yaml.safe_load(file.read_text())["tests"]
]


def test_grafanas_json_is_generated_from_its_description() -> None:
    assert dashboard.render() == dashboard.DASHBOARD.read_text(), "run: python -m deploy.grafana.dashboard"


def test_no_two_panels_have_the_same_id() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_at_most_four_panels_are_side_by_side_and_none_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["w"] >= 6
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_description_and_a_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_a_severity_a_runbook_and_a_panel(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket", "info")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "dashboard", "runbook"}
    linked = re.fullmatch(r"http://127\.0\.0\.1:3000/d/(\w+)\?viewPanel=(\d+)", notes["dashboard"])
    assert linked
    assert linked[1] == DASHBOARD["uid"]
    assert int(linked[2]) in {panel["id"] for panel in PANELS}
    named = re.findall(r'panel "([^"]+)"', notes["runbook"], re.IGNORECASE)
    assert set(named) <= {panel["title"] for panel in PANELS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent(
    alert: dict[str, Any],
) -> None:
    fires = {
        bool(asked.get("exp_samples"))
        for case in CASES
        for asked in case["promql_expr_test"]
        if f'alertname="{alert["alert"]}"' in asked["expr"]
    }
    assert fires == {True, False}
