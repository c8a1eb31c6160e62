"""Requests as commands to paste into a shell."""

import json
import shlex
from typing import Any


def curl(url: str, body: object, *options: str, needs_key: bool) -> str:
    """A streaming POST. The key itself is never shown: it would stay on the screen."""
    credential = ["-H", "Authorization: Bearer YOUR-KEY"] if needs_key else []
    return shlex.join(["curl", "-N", *options, *credential, url, "-d", json.dumps(body)])


def example_question(model: str) -> dict[str, Any]:
    """A body for /chat."""
    return {"model": model, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
