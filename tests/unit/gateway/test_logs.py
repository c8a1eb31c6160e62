"""What a line of the log looks like."""

import pytest
import structlog

from gateway.settings import Settings
from gateway.telemetry.logs import configure_structlog


def test_a_clients_text_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_structlog(Settings(log_format="console"))
    structlog.get_logger().info("request", model="\x1b[31mred\u2028\nname", status=200)
    structlog.reset_defaults()
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert shown.count("\n") == 1
    assert r"\x1b[31mred" in shown
