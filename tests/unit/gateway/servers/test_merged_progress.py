"""The progress of several servers as the progress of one."""

import json
from typing import Any

import pytest

from gateway.dialects.merged_progress import MergedProgress
from gateway.errors import UpstreamFailed

MANIFEST = {"status": "pulling manifest"}
VERIFYING = {"status": "verifying sha256 digest"}
SUCCESS = {"status": "success"}


def layer(name: str, total: int, completed: int) -> dict[str, Any]:
    return {"status": f"pulling {name}", "digest": name, "total": total, "completed": completed}


def take(progress: MergedProgress, server: str, *lines: dict[str, Any]) -> list[dict[str, Any]]:
    for line in lines:
        if progress.take(server, json.dumps(line).encode()):
            progress.succeeded(server)
    return [json.loads(line) for line in progress.news().splitlines()]


def test_a_bar_is_as_large_as_the_layer_and_shows_the_mean() -> None:
    progress = MergedProgress(["one", "two"])
    assert take(progress, "one", MANIFEST, layer("a", 100, 0)) == [MANIFEST, layer("a", 100, 0)]
    assert take(progress, "two", MANIFEST) == []
    assert take(progress, "one", layer("a", 100, 60)) == [layer("a", 100, 30)]
    assert take(progress, "two", layer("a", 100, 100)) == [layer("a", 100, 80)]
    assert take(progress, "one", layer("a", 100, 100)) == [layer("a", 100, 100)]


def test_each_step_follows_when_every_server_has_the_layer_before_it() -> None:
    progress = MergedProgress(["one", "two"])
    ahead = take(progress, "one", layer("a", 10, 10), layer("b", 20, 20), VERIFYING)
    assert ahead == [layer("a", 10, 5)]
    assert take(progress, "two", layer("a", 10, 10)) == [layer("a", 10, 10), layer("b", 20, 10)]
    assert take(progress, "two", layer("b", 20, 20)) == [layer("b", 20, 20), VERIFYING]


def test_a_server_that_goes_on_has_the_whole_layer() -> None:
    progress = MergedProgress(["one", "two"])
    take(progress, "one", layer("a", 10, 10))
    assert take(progress, "two", layer("a", 10, 9), VERIFYING) == [layer("a", 10, 10), VERIFYING]


def test_a_server_that_has_a_layer_already_need_not_report_it() -> None:
    progress = MergedProgress(["one", "two"])
    assert take(progress, "one", layer("a", 10, 10)) == [layer("a", 10, 5)]
    assert take(progress, "two", SUCCESS) == [layer("a", 10, 10)]


def test_success_is_reported_once_when_all_have_succeeded() -> None:
    progress = MergedProgress(["one", "two"])
    assert take(progress, "one", SUCCESS) == []
    assert take(progress, "two", SUCCESS) == [SUCCESS]
    assert progress.news() == b""


def test_after_a_failure_the_others_progress_counts_and_never_goes_back() -> None:
    progress = MergedProgress(["one", "two", "three"])
    take(progress, "one", layer("a", 100, 90))
    assert take(progress, "two", layer("a", 100, 30)) == [layer("a", 100, 40)]
    progress.failed("one")
    assert take(progress, "two", layer("a", 100, 40)) == []
    assert take(progress, "three", layer("a", 100, 60)) == [layer("a", 100, 50)]
    assert take(progress, "two", SUCCESS) == [layer("a", 100, 80)]
    # Not even when the last one succeeds.
    assert take(progress, "three", SUCCESS) == [layer("a", 100, 100)]


def test_progress_that_nobody_has_read_is_replaced_by_later_progress() -> None:
    progress = MergedProgress(["one"])
    many = [layer("a", 1000, completed) for completed in range(1000)]
    assert take(progress, "one", *many) == [layer("a", 1000, 999)]


@pytest.mark.parametrize(
    ("line", "says"),
    [(b'{"error":"no space left"}', "no space left"), (b"[]", "not a JSON object"), (b"{", "not a JSON")],
)
def test_an_error_and_a_line_that_is_none_are_failures(line: bytes, says: str) -> None:
    with pytest.raises(UpstreamFailed, match=says):
        MergedProgress(["one"]).take("one", line)
