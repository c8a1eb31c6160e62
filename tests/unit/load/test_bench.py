"""What `make bench` computes from what it measures."""

from pathlib import Path

import pytest

from tests.load.bench.client import is_complete
from tests.load.bench.figures import number, percentile, ratio
from tests.load.bench.report import Report
from tests.load.bench.systems import DIRECT, GATEWAY, NGINX
from tests.load.bench.wire import DIALECTS, DIGITS, OLLAMA, OPENAI, Dialect, stamps


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_the_percentile_of_nothing_is_no_pass() -> None:
    assert percentile([], 99) == float("inf")


def test_a_ratio_is_one_of_medians() -> None:
    assert ratio([50, 60, 900], [20, 30, 40]) == 2
    assert ratio([], [20]) is None
    assert ratio([50], [0]) is None


def test_numbers_show_three_digits() -> None:
    assert [number(value) for value in (0.0, 0.123, 45.67, 1234.5, float("inf"))] == [
        "0",
        "0.12",
        "45.7",
        "1,234",
        "none",
    ]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)
def test_every_dialect_carries_the_time_of_sending(dialect: Dialect) -> None:
    token = dialect.token % 123456789
    assert stamps(token * 3) == (3, [123456789] * 3)
    assert stamps(dialect.last) == (0, [])
    assert dialect.terminal in dialect.last
    assert dialect.terminal not in token


def test_a_token_cut_in_two_is_counted_once_and_its_time_left_out() -> None:
    data = OLLAMA.token % 5 + OLLAMA.token % 7
    for cut in range(len(data)):
        first, second = stamps(data[:cut]), stamps(data[cut:])
        assert first[0] + second[0] == 2
        assert set(first[1] + second[1]) <= {5, 7}
    middle = data.index(b"@") + DIGITS
    assert stamps(data[:middle])[1] == []


@pytest.mark.parametrize(
    ("answer", "complete"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", False),
    ],
)
def test_an_answer_is_complete_when_its_body_is(answer: bytes, complete: bool) -> None:
    assert is_complete(answer) == complete


@pytest.fixture
def report() -> Report:
    report = Report({"cpu": "abacus"}, {NGINX: "1.31", GATEWAY: "0.1"}, rounds=3)
    for nginx, gateway in ((20, 50), (30, 60), (40, 70)):
        report.add(NGINX, OPENAI.path, {"cpu": nginx})
        report.add(GATEWAY, OPENAI.path, {"cpu": gateway})
    for direct, gateway in ((1, 2), (2, 4), (3, 6)):
        report.add(DIRECT, OPENAI.path, {"single_p50": direct})
        report.add(GATEWAY, OPENAI.path, {"single_p50": gateway})
    return report


def test_the_table_shows_medians_spread_and_how_many_times_nginx(report: Report) -> None:
    assert "60.0 (50.0-70.0) 2x" in report.table()


def test_what_the_upstream_takes_is_no_part_of_what_a_system_adds(report: Report) -> None:
    assert "2.00 (1.00-3.00)" in report.table()


def test_a_figure_that_the_load_limited_says_so(report: Report) -> None:
    report.add(NGINX, OPENAI.path, {"most": 2000})
    report.limited.add(f"most/{NGINX}")
    assert "≥ 2,000" in report.table()
    assert "may be better" in report.notes()


def test_a_busy_machine_is_told(report: Report) -> None:
    assert "first impression" not in report.notes()
    report.others = 0.3
    assert "other processes had 30% of the cores" in report.notes()
    assert "first impression" in report.notes()


def test_bars_are_told_by_medians(report: Report) -> None:
    assert [line.split()[:3] for line in report.bars().splitlines()] == [
        ["pass", "cpu", OPENAI.path],
        ["pass", "single_p50", OPENAI.path],
    ]


def test_the_json_has_every_round(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "run" / "bench.json")
    assert '"times_nginx": 2.0' in (tmp_path / "run" / "bench.json").read_text()
