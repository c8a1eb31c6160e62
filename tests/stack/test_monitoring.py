"""Prometheus scrapes the running stack, and every query of dashboard and alerts returns data."""

import asyncio
import json
import math
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from tests.processes import ROOT, wait_until
from tests.stack.containers import Containers, docker, inspect, reaches
from tests.stack.monitored import (
    PROMETHEUS_IMAGE,
    QUEUE_PER_CALLER,
    SLOTS,
    Prometheus,
    monitored,
    traffic,
)

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/sluice.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule
    for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yaml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
CASES = sorted((ROOT / "tests/stack/rules").glob("*.yaml"))
# Panels that may be empty here, and why.
MAY_BE_EMPTY = {
    605: "nginx's exporter is not started: its image is not needed for anything else",
    706: "the stack has no keys",
    509: "the stack has one model server",
}
METRIC = re.compile(r"\b(?:gateway[_:]|gen_ai_|nginx_|process_|scrape_)[a-z0-9_:]*|\bup\b|\bALERTS\b")
# Variables that Grafana substitutes.
FILLED_IN = {"$__rate_interval": "1m", "$__range": "5m", "$model": ".*"}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[Containers, Prometheus]]:
    """The stack, after Prometheus has scraped a minute of traffic."""
    with monitored() as (stack, url):
        prometheus = Prometheus(url)
        wait_until(
            lambda: prometheus.query('up{job="gateway"} == 1'), 60, "the gateway has been scraped once"
        )
        # Twice, because the first value of a new series does not count as an increase.
        for _ in range(2):
            asyncio.run(traffic(stack, 20))
            counted = sum(stack.answers(gateway) for gateway in stack.containers("gateway"))
            wait_until(
                partial(has_counted, prometheus, counted), 30, f"Prometheus has counted {counted} answers"
            )
        long = "gateway:slow_first_chunks:ratio_rate3d"
        wait_until(lambda: prometheus.query(long), 90, "the rules have been evaluated")
        yield stack, prometheus


def has_counted(prometheus: Prometheus, answers: float) -> bool:
    name = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
    return value(prometheus, f"sum({name})") >= answers


def value(prometheus: Prometheus, expr: str) -> float:
    return sum(float(series["value"][1]) for series in prometheus.query(expr))


def numbers(series: list[dict[str, Any]]) -> list[float]:
    values = [float(text) for one in series for _, text in one["values"]]
    return [number for number in values if not math.isnan(number)]


def filled_in(target: dict[str, Any]) -> str:
    """The query as Grafana sends it."""
    expr: str = target["expr"]
    for name, text in FILLED_IN.items():
        expr = expr.replace(name, text)
    assert "$" not in expr, "the query has a variable that this test does not substitute"
    return expr


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_query_of_the_dashboard_returns_data(
    watched: tuple[Containers, Prometheus], panel: dict[str, Any]
) -> None:
    _, prometheus = watched
    for target in panel["targets"]:
        expr = filled_in(target)
        found = numbers(prometheus.query_range(expr, seconds=300))
        assert found or panel["id"] in MAY_BE_EMPTY, f"nothing for {expr}"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_legend_of_the_dashboard_uses_existing_labels(
    watched: tuple[Containers, Prometheus], panel: dict[str, Any]
) -> None:
    _, prometheus = watched
    for target in panel["targets"]:
        expr = filled_in(target)
        needed = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        for series in prometheus.query_range(expr, seconds=300):
            assert needed <= set(series["metric"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_uses_existing_metrics(
    watched: tuple[Containers, Prometheus], rule: dict[str, Any]
) -> None:
    _, prometheus = watched
    prometheus.query(rule["expr"])
    names = set(METRIC.findall(rule["expr"]))
    assert names
    for name in names - {"nginx_up", "gateway_failovers_total"}:
        assert prometheus.query(f"last_over_time({name}[10m])"), f"there is no {name}"
    if "record" in rule:
        assert prometheus.query(rule["record"]), "nothing is recorded"


def test_prometheus_evaluates_the_rules_without_errors(watched: tuple[Containers, Prometheus]) -> None:
    _, prometheus = watched
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert [rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []


def test_prometheus_has_seen_busy_slots_a_queue_and_refusals(
    watched: tuple[Containers, Prometheus],
) -> None:
    _, prometheus = watched
    assert value(prometheus, 'max_over_time(sum(gateway_slots{state="busy"})[10m:5s])') == SLOTS
    assert 1 <= value(prometheus, "max_over_time(sum(gateway_queue_length)[10m:5s])") <= QUEUE_PER_CALLER
    refused = 'increase(gateway_refusals_total{reason="caller_queue_full"}[10m])'
    assert value(prometheus, refused) > 0
    assert value(prometheus, 'increase(gateway_queue_seconds_count{outcome="admitted"}[10m])') > 0
    assert value(prometheus, "increase(gateway_queue_seconds_sum[10m])") > 0


def test_slots_and_queue_are_empty_when_the_traffic_has_ended(
    watched: tuple[Containers, Prometheus],
) -> None:
    _, prometheus = watched
    busy, waiting = 'gateway_slots{state="busy"}', "gateway_queue_length"
    assert prometheus.query(busy)
    assert prometheus.query(waiting)
    wait_until(lambda: not value(prometheus, f"sum({busy}) + sum({waiting})"), 60, "nothing runs or waits")


def test_the_alert_for_failed_scrapes_fires_for_the_missing_exporter(
    watched: tuple[Containers, Prometheus],
) -> None:
    _, prometheus = watched
    fires = 'ALERTS{alertname="ScrapeFails", alertstate="firing", job="nginx"}'
    wait_until(lambda: prometheus.query(fires), 240, "the alert fires")


def test_every_gateway_is_found_by_its_service_name(watched: tuple[Containers, Prometheus]) -> None:
    stack, prometheus = watched
    stack.compose("up", "--detach", "--no-deps", "--scale", "gateway=2", "gateway")
    wait_until(lambda: value(prometheus, 'sum(up{job="gateway"})') == 2, 60, "both gateways are asked")
    stack.compose("up", "--detach", "--no-deps", "--scale", "gateway=1", "gateway")
    wait_until(lambda: value(prometheus, 'sum(up{job="gateway"})') == 1, 60, "the one that is left is asked")


def test_only_prometheus_can_reach_the_metrics(watched: tuple[Containers, Prometheus]) -> None:
    stack, _ = watched
    gateway = stack.address(stack.containers("gateway")[0], "metrics")
    assert reaches(f"http://{gateway}:8001/metrics", "--network", stack.network("metrics"))
    for network in ("host", stack.network("dashboards"), stack.network("edge")):
        assert not reaches(f"http://{gateway}:8001/metrics", "--network", network)


def test_prometheus_is_published_on_loopback_and_hardened_like_the_others(
    watched: tuple[Containers, Prometheus],
) -> None:
    stack, _ = watched
    got = inspect(stack.containers("prometheus")[0])
    published = got["NetworkSettings"]["Ports"]["9090/tcp"]
    assert {binding["HostIp"] for binding in published} == {"127.0.0.1"}
    assert got["State"]["Health"]["Status"] == "healthy"
    assert got["HostConfig"]["ReadonlyRootfs"] is True


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    folders = (
        f"{ROOT / 'deploy/prometheus'}:/etc/prometheus:ro",
        f"{ROOT / 'tests/stack/rules'}:/cases:ro",
    )
    volumes = [argument for folder in folders for argument in ("--volume", folder)]
    promtool = ["--rm", "--network", "none", *volumes, "--entrypoint", "promtool", PROMETHEUS_IMAGE]
    docker("run", *promtool, "check", "config", "/etc/prometheus/prometheus.yaml")
    docker("run", *promtool, "test", "rules", *(f"/cases/{file.name}" for file in CASES))
