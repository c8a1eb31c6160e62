"""What a line of the log looks like."""

import pytest
import structlog

from gateway.settings import Settings
from gateway.telemetry.logs import configure_structlog
from gateway.telemetry.output import stdout


def test_a_clients_text_does_not_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    configure_structlog(Settings(log_format="console"))
    structlog.get_logger().info("request", model="\x1b[31mred\u2028\nname", status=200)
    structlog.reset_defaults()
    assert stdout.wait(10)
    shown = capfd.readouterr().out
    assert shown.isascii()
    assert shown.count("\n") == 1
    assert r"\x1b[31mred" in shown
