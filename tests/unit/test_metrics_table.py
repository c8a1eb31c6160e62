"""The table of metrics in the gateway's README has those that the gateway has, and no others."""

import re

from prometheus_client.metrics import MetricWrapperBase

from gateway.access.keyring import Keyring
from gateway.backends.gauges import Gauges
from gateway.settings import Settings
from gateway.telemetry import metrics
from gateway.telemetry.loop_watch import LoopWatch
from tests.processes import ROOT

ROW = re.compile(r"^\| `((?:gateway|gen_ai)_\w+)` \| (\w+)[^|]*\|([^|]*)\|", re.MULTILINE)


def documented() -> dict[str, tuple[str, set[str]]]:
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall((ROOT / "services/gateway/README.md").read_text())
    }


def existing() -> dict[str, tuple[str, set[str]]]:
    instruments = [thing for thing in vars(metrics).values() if isinstance(thing, MetricWrapperBase)]
    counted = {thing._original_name: (thing._type, set(thing._labelnames)) for thing in instruments}
    families = list(Gauges(Settings(), list, Keyring(Settings()), LoopWatch()).collect())
    looked_up = {family.name: (family.type, set(family._labelnames)) for family in families}
    return {**counted, **looked_up}  # type: ignore[dict-item]


def test_every_metric_is_in_the_table_with_its_type_and_labels_and_nothing_else_is() -> None:
    assert documented() == existing()
