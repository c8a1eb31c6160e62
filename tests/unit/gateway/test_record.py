"""What a request leaves behind in the metrics."""

from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from gateway.settings import Settings
from gateway.telemetry.audit import Audit
from gateway.telemetry.record import RequestRecord


def value(name: str, **labels: str) -> float:
    """Every test has a model of its own."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def settled(model: str, **fields: Any) -> None:
    record = RequestRecord(
        "req-1", "127.0.0.1", operation="chat", model_label=model, status=200, streams=True
    )
    for name, given in fields.items():
        setattr(record, name, given)
    record.settle(structlog.get_logger(), Audit(Settings()))


def first_chunks(model: str, load: str) -> float:
    name = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
    return value(name, gen_ai_operation_name="chat", gen_ai_request_model=model, load=load)


@pytest.mark.parametrize(
    ("seconds", "was_loaded", "load"),
    [
        ({"total": 9, "load": 5}, True, "cold"),
        ({"total": 9, "load": 0.02}, False, "warm"),
        ({"total": 9}, False, "warm"),
        ({}, False, "cold"),
        ({}, True, "warm"),
    ],
)
def test_a_start_is_cold_if_the_last_line_says_so_or_without_one_if_the_model_was_not_in_memory(
    seconds: dict[str, float], was_loaded: bool, load: str
) -> None:
    before = first_chunks("start", load)
    settled("start", first_chunk_after=1, upstream_seconds=seconds, was_loaded=was_loaded)
    assert first_chunks("start", load) == before + 1


@pytest.mark.parametrize(("waited", "load"), [(5, "cold"), (0.02, "warm")])
def test_a_start_is_cold_if_the_request_has_waited_for_a_load(waited: float, load: str) -> None:
    for seconds in ({}, {"total": 9, "load": 0.02}):
        before = first_chunks("waited", load)
        settled("waited", first_chunk_after=1, upstream_seconds=seconds, load_seconds=waited)
        assert first_chunks("waited", load) == before + 1


def test_a_wait_for_a_load_is_not_the_gateways_own_share() -> None:
    name = "gateway_overhead_seconds_sum"
    before = value(name, phase="request")
    record = RequestRecord("req-1", "127.0.0.1", operation="chat")
    record.started -= 60
    record.loaded("gpu1", 60)
    record.asked("gpu1")
    assert 0 <= value(name, phase="request") - before < 30


def test_an_answer_in_one_piece_has_no_first_chunk() -> None:
    settled("whole", first_chunk_after=1, streams=False)
    assert first_chunks("whole", "cold") == first_chunks("whole", "warm") == 0


def test_reported_tokens_are_counted_as_such() -> None:
    settled("reported", prompt_tokens=11, output_tokens=3, chunks=4)
    tokens = "gateway_tokens_total"
    assert value(tokens, model="reported", type="input", source="reported") == 11
    assert value(tokens, model="reported", type="output", source="reported") == 3
    assert value(tokens, model="reported", type="output", source="counted") == 0


def test_without_a_report_the_chunks_are_counted() -> None:
    settled("counted", chunks=4)
    assert value("gateway_tokens_total", model="counted", type="output", source="counted") == 4


def with_key(name: str, operation: str | None = "chat", **fields: Any) -> None:
    record = RequestRecord("req-1", "127.0.0.1", model_label="keyed", status=200, key=name, counts_key=True)
    record.asks(operation, streams=True)
    record.operation = operation
    for field, given in fields.items():
        setattr(record, field, given)
    record.settle(structlog.get_logger(), Audit(Settings()))


def test_a_keys_requests_are_counted_by_its_name_refused_ones_too() -> None:
    with_key("alice", operation=None)
    with_key("alice", outcome="ok")
    with_key("alice", outcome="rejected", status=429)
    with_key("alice", outcome="rejected", status=429)
    with_key("alice", outcome="ok", counts_key=False)
    name = "gateway_key_requests_total"
    assert value(name, key="alice", model="keyed", outcome="ok") == 1
    assert value(name, key="alice", model="keyed", outcome="rejected") == 2


def test_a_keys_tokens_are_as_reported_or_else_counted() -> None:
    with_key("bob", outcome="ok", prompt_tokens=11, output_tokens=3, chunks=4)
    name = "gateway_key_tokens_total"
    gone: dict[str, Any] = {"outcome": "client_gone", "chunks": 5}
    assert value(name, key="bob", model="keyed", type="output") == 3
    with_key("bob", **gone)
    assert value(name, key="bob", model="keyed", type="input") == 11
    assert value(name, key="bob", model="keyed", type="output") == 8
    with_key("bob", **gone, counts_key=False)
    assert value(name, key="bob", model="keyed", type="output") == 8


def test_what_upstream_does_not_account_for_is_waiting() -> None:
    settled("waits", upstream_seconds={"total": 10, "load": 1, "prompt": 2, "generation": 3})
    sums = {
        phase: value("gateway_upstream_phase_seconds_sum", model="waits", phase=phase)
        for phase in ("load", "prompt", "generation", "waiting")
    }
    assert sums == {"load": 1, "prompt": 2, "generation": 3, "waiting": 4}


def test_an_embedding_does_not_wait_for_what_upstream_does_not_tell() -> None:
    settled("vectors", upstream_seconds={"total": 10, "load": 1, "prompt": 0, "generation": 0})
    assert value("gateway_upstream_phase_seconds_sum", model="vectors", phase="load") == 1
    assert value("gateway_upstream_phase_seconds_count", model="vectors", phase="waiting") == 0


def test_chunks_are_counted_once_however_often_they_are_brought_up_to_date() -> None:
    record = RequestRecord("req-1", "127.0.0.1", operation="chat", model_label="chunks")
    for chunks in (3, 3, 5, 5):
        record.count_chunks(chunks)
    assert value("gateway_chunks_total", model="chunks") == record.chunks == 5


def test_a_pull_is_no_answer_of_a_model() -> None:
    settled("pulled", operation=None, chunks=7, first_chunk_after=1)
    labels = {"gen_ai_operation_name": "None", "gen_ai_request_model": "pulled", "outcome": "ok"}
    assert value("gen_ai_client_operation_duration_seconds_count", **labels) == 0
    assert value("gateway_tokens_total", model="pulled", type="output", source="counted") == 0


def test_a_long_stream_does_not_keep_when_each_of_its_chunks_came() -> None:
    record = RequestRecord("req-1", "127.0.0.1", operation="chat", model_label="long")
    for second in range(1000):
        record.gaps.arrivals.append(second)
    record.count_chunks(1000)
    assert len(record.gaps.arrivals) == 1
