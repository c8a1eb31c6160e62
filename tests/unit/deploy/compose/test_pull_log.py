import json

import pytest

from deploy.compose import pull_log


@pytest.mark.parametrize(
    ("line", "text", "advances"),
    [
        (
            {"event": "pulling", "model": "m", "status": "pulling 3f8a", "progress": "37% of 1.1 GB"},
            "m: pulling, 37% of 1.1 GB",
            True,
        ),
        (
            {"event": "pulling", "model": "m", "status": "verifying", "percent": 100},
            "m: verifying, 100%",
            True,
        ),
        ({"event": "pulled", "model": "m", "fetched_bytes": 1}, "m is ready", True),
        (
            {"event": "pull_failed", "model": "m", "reason": "no network", "retry_in_seconds": 3.6},
            "m could not be pulled: no network; next try in 4 s",
            False,
        ),
        ({"event": "pull_refused", "model": "m", "reason": "no such"}, "m cannot be pulled: no such", False),
        (
            {"event": "models_missing", "models": {"m": "no such"}, "todo": "correct it"},
            "missing: m; correct it",
            False,
        ),
        ({"event": "waiting", "level": "info", "url": "http://o"}, "waiting url=http://o", False),
        ({"event": "all_models_there"}, "all models there", False),
        ({"event": "pulled", "model": "m", "server": "gpu1"}, "gpu1: m is ready", True),
        (["odd"], '["odd"]', False),
    ],
)
def test_the_log_of_the_puller_is_put_into_words(line: object, text: str, advances: bool) -> None:
    assert pull_log.read(json.dumps(line)) == pull_log.Line(text, advances)


def test_lines_that_are_no_json_are_shown_as_they_are() -> None:
    assert pull_log.read(" pulling manifest\n").text == "pulling manifest"
