"""The trace context of a client goes on upstream as it came, if it is well-formed; the SDK stays away."""

import subprocess
import sys

import pytest
from opentelemetry.trace import NoOpTracer
from starlette.types import Scope

from gateway.telemetry.record import RequestRecord
from gateway.telemetry.tracing import RequestTrace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def received(*headers: tuple[str, str]) -> tuple[str | None, dict[str, str]]:
    """The trace's id as the log has it, and what upstream is sent, where no spans are collected."""
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope: Scope = {"method": "POST", "path": "/chat", "headers": sent}
    record = RequestRecord("an-id", "127.0.0.1")
    trace = RequestTrace(NoOpTracer(), scope, record)
    trace.end()
    return record.trace_id, trace.headers


@pytest.mark.parametrize("flags", ["00", "01", "03"])
@pytest.mark.parametrize("state", [None, "a=1", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "t@v=x y"])
def test_a_well_formed_context_goes_on_unchanged(flags: str, state: str | None) -> None:
    headers = {"traceparent": PARENT[:-2] + flags, **({"tracestate": state} if state else {})}
    assert received(*headers.items()) == (TRACE, headers)


def test_states_from_several_headers_become_one_in_their_order() -> None:
    _, sent = received(("tracestate", "a=1"), ("traceparent", PARENT), ("tracestate", "b=2"))
    assert sent == {"traceparent": PARENT, "tracestate": "a=1,b=2"}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        TRACE,
        PARENT.upper(),
        f"{PARENT}-more",
        f"ff{PARENT[2:]}",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"00-{TRACE[:-1]}é-00f067aa0ba902b7-01",
    ],
)
def test_a_malformed_parent_is_dropped_and_its_state_with_it(parent: str) -> None:
    assert received(("traceparent", parent), ("tracestate", "a=1")) == (None, {})


@pytest.mark.parametrize(
    "state", ["a", "=1", "A=1", "a=1,a=2", "a=é", ",".join(f"k{n}=1" for n in range(33))]
)
def test_a_malformed_state_is_dropped_and_its_parent_kept(state: str) -> None:
    _, sent = received(("traceparent", PARENT), ("tracestate", state))
    assert sent == {"traceparent": PARENT}


def test_of_two_parents_none_is_believed() -> None:
    assert received(("traceparent", PARENT), ("traceparent", PARENT)) == (None, {})


def test_no_context_is_invented() -> None:
    assert received(("tracestate", "a=1"), ("x-request-id", "1")) == (None, {})


SERVE = """
import sys
from fastapi.testclient import TestClient
from gateway.app import create_app
with TestClient(create_app()):
    print(*(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "urllib3"))))
"""


def test_the_sdk_is_not_loaded_where_there_is_no_collector() -> None:
    environment = {"PYTHONPATH": ":".join(sys.path)}
    loaded = subprocess.check_output([sys.executable, "-c", SERVE], env=environment, text=True, timeout=60)
    assert loaded == "\n"
