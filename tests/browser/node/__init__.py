"""sluice.js in Node, the one that playwright brings along."""

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.browser.chromium import find_node
from tests.processes import ROOT

MODULE = (ROOT / "services/page/sluice.js").as_uri()
HERE = Path(__file__).parent

Pieces = Sequence[bytes]


def started(call: str, abort_after: int | None = None, **options: Any) -> subprocess.Popen[str]:
    """A process that prints what the call yields."""
    asked = {"module": MODULE, "call": call, "options": options, "abortAfter": abort_after}
    return subprocess.Popen(
        [find_node(), str(HERE / "ask.mjs"), json.dumps(asked)], stdout=subprocess.PIPE, text=True
    )


def events(call: str, abort_after: int | None = None, **options: Any) -> list[dict[str, Any]]:
    """Everything that the call yields; what it throws comes last."""
    with started(call, abort_after, **options) as process:
        printed, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    return [json.loads(line) for line in printed.split("\n")[:-1]]


def read(answers: Sequence[Sequence[Pieces]]) -> list[dict[str, Any]]:
    """What sluice.js makes of recorded answers, each with its connections, each in pieces."""
    encoded = [
        [[base64.b64encode(piece).decode() for piece in pieces] for pieces in connections]
        for connections in answers
    ]
    done = subprocess.run(
        [find_node(), str(HERE / "read.mjs")],
        input=json.dumps({"module": MODULE, "answers": encoded}),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert len(found) == len(answers)
    return found
