"""At which level a request is logged."""

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.server.request_log import RequestLog


@pytest.mark.parametrize(
    ("path", "level"), [("/api/tags", "debug"), ("/api/ps", "debug"), ("/api/chat", "info")]
)
async def test_the_paths_that_the_gateway_polls_are_logged_at_debug_level(path: str, level: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = SimpleNamespace(path=path)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ignore(_: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "headers": [], "state": {}}
    with capture_logs() as lines:
        await RequestLog(app)(scope, lambda: ignore(None), ignore)  # type: ignore[arg-type, return-value]
    assert [line["log_level"] for line in lines] == [level]
