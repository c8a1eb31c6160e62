"""The files in which workers count, and the text that is made of them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.telemetry.exposition import Exposition
from gateway.telemetry.metrics import GAPS, Gaps


class Instruments:
    """What a worker counts with."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.requests = Counter("requests_total", "Requests.", ["route", "model"], registry=registry)
        self.seconds = Histogram("seconds", "Time.", ["model"], buckets=GAPS, registry=registry)
        self.oldest = Gauge("oldest_seconds", "Oldest.", multiprocess_mode="livemax", registry=registry)
        self.in_flight = Gauge("in_flight", "Running.", multiprocess_mode="livesum", registry=registry)


Worker = Callable[[str], Instruments]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Makes a worker at the place that is named, which counts in tmp_path."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    def start(place: str) -> Instruments:
        monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue(lambda: place))  # type: ignore[no-untyped-call]
        return Instruments()

    return start


def lines(text: str) -> list[str]:
    return sorted(text.splitlines())


def of_the_library(folder: Path) -> str:
    registry = CollectorRegistry(support_collectors_without_names=True)
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry).decode()


def test_the_text_says_what_the_librarys_own_would_say(worker: Worker, tmp_path: Path) -> None:
    exposition = Exposition(tmp_path)
    first = worker("0")
    first.requests.labels("/chat", 'with "quotes" and \\ and \n').inc()
    first.seconds.labels("a").observe(0.3)
    first.seconds.labels("a").observe(1000)
    first.in_flight.inc(2)
    first.oldest.set(7)
    assert lines(exposition.text()) == lines(of_the_library(tmp_path))
    second = worker("1")
    second.requests.labels("/chat", "b").inc(3)
    second.seconds.labels("b").observe(0.001)
    second.seconds.labels("a").observe(0.3)
    second.in_flight.inc()
    second.oldest.set(5)
    first.requests.labels("/chat", "b").inc()
    assert lines(exposition.text()) == lines(of_the_library(tmp_path))
    assert 'requests_total{model="b",route="/chat"} 4.0' in exposition.text()
    assert "in_flight 3.0" in exposition.text()
    assert "oldest_seconds 7.0" in exposition.text()
    first.oldest.set(0)
    assert "oldest_seconds 5.0" in exposition.text()


@pytest.mark.parametrize("mode", ["all", "liveall", "max", "min", "mostrecent"])
def test_a_gauge_of_another_mode_is_refused(worker: Worker, tmp_path: Path, mode: Any) -> None:
    worker("0")
    Gauge("oldest", "Not a sum.", multiprocess_mode=mode, registry=CollectorRegistry())
    with pytest.raises(ValueError, match=f"gauge_{mode}_0.db: the values of several workers"):
        Exposition(tmp_path).text()


def test_who_takes_the_place_of_a_dead_worker_counts_on(worker: Worker, tmp_path: Path) -> None:
    exposition = Exposition(tmp_path)
    dead = worker("0")
    dead.requests.labels("/chat", "a").inc(5)
    dead.in_flight.inc(7)
    assert "in_flight 7.0" in exposition.text()
    files = set(tmp_path.glob("[ch]*"))
    mark_process_dead("0")  # type: ignore[no-untyped-call]
    assert "in_flight 7.0" not in exposition.text()
    successor = worker("0")
    successor.requests.labels("/chat", "a").inc()
    successor.in_flight.inc()
    assert 'requests_total{model="a",route="/chat"} 6.0' in exposition.text()
    assert "in_flight 1.0" in exposition.text()
    assert set(tmp_path.glob("[ch]*")) == files


def test_files_that_grow_between_two_scrapes_are_read_to_their_end(worker: Worker, tmp_path: Path) -> None:
    exposition = Exposition(tmp_path)
    instruments = worker("0")
    for number in range(800):  # the files grow meanwhile
        instruments.seconds.labels(f"model-{number % 200}").observe(number)
        if number % 200 == 0:
            assert lines(exposition.text()) == lines(of_the_library(tmp_path))
    assert lines(exposition.text()) == lines(of_the_library(tmp_path))


def test_a_scrape_of_twenty_models_takes_less_than_fifty_milliseconds(worker: Worker, tmp_path: Path) -> None:
    exposition = Exposition(tmp_path)
    for place in "0123":
        instruments = worker(place)
        for model in range(20):
            for kind in range(28):  # as many series as they have on every route
                instruments.seconds.labels(f"{model}/{kind}").observe(1)
    assert exposition.text().count("\n") > 10_000

    def seconds() -> float:
        started = time.perf_counter()
        exposition.text()
        return time.perf_counter() - started

    assert any(seconds() < 0.05 for _ in range(50))


def test_gaps_counted_beside_the_histogram_are_what_it_would_have_observed() -> None:
    times = [0.0, 0.0025, 0.0026, 0.5, 0.5, 3.0, 1000.0]
    registry = CollectorRegistry()
    flushed = Histogram("h", "x", buckets=GAPS, registry=registry)
    observed = Histogram("o", "x", buckets=GAPS, registry=registry)
    gaps = Gaps()
    for before, at in zip([None, *times], times, strict=False):
        gaps.arrivals.append(at)
        if at == 0.5:
            gaps.count()
        if before is not None:
            observed.observe(at - before)
    gaps.flush(flushed)
    text = generate_latest(registry).decode().splitlines()
    assert [line[2:] for line in text if line.startswith("h_")] == [
        line[2:] for line in text if line.startswith("o_")
    ]


def test_a_stream_of_one_chunk_has_no_gap() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "x", registry=registry, buckets=GAPS)
    gaps = Gaps()
    gaps.arrivals.append(5.0)
    gaps.flush(histogram)
    assert registry.get_sample_value("h_count") == 0
