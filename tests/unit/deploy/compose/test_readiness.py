import time
from pathlib import Path

import pytest

from deploy.compose import readiness
from deploy.compose.readiness import StartFailed, failed_container, wait_until_ready
from tests.unit.deploy.compose.machine import FakeStack, MakeSettings, container, write_ps


def test_waiting_ends_when_the_stack_is_ready_and_shows_the_pull_meanwhile(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ps(docker, ("models", "running", {}), ("nginx", "running", {"Health": "healthy"}))
    # With what Compose puts in front of its lines.
    (docker / "logs").write_text(
        '\x1b[2K{"event":"pulling","model":"m","status":"pulling 3f","percent":37}\n'
    )
    answers = iter([(502, {}), (503, {"missing": "model m is not there"}), (200, {})])
    stack.answers["/readyz"] = lambda: next(answers)
    wait_until_ready(settings(PORT=stack.port), poll_seconds=0)
    assert [path for path, _ in stack.asked] == ["/readyz"] * 3
    assert "m: pulling, 37%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("gateway", "exited", {"ExitCode": 3}), "gateway has stopped with status 3"),
        (("ollama", "running", {"Health": "unhealthy"}), "ollama is not healthy"),
        (("nginx", "restarting", {"ExitCode": 1}), "nginx keeps stopping and being restarted"),
        (("models", "exited", {"ExitCode": 1}), "models has stopped"),
        (("valkey-password", "exited", {"ExitCode": 1}), "valkey-password has stopped"),
    ],
)
def test_a_container_that_will_not_come_up_ends_the_waiting_with_its_log(
    docker: Path,
    stack: FakeStack,
    settings: MakeSettings,
    wrong: tuple[str, str, dict[str, object]],
    said: str,
) -> None:
    write_ps(docker, ("nginx", "running", {}), wrong)
    (docker / "logs").write_text("the last words\n")
    stack.answers["/readyz"] = (503, {"missing": "a model"})
    with pytest.raises(StartFailed, match=said) as failed:
        wait_until_ready(settings(PORT=stack.port), poll_seconds=0)
    assert "  the last words" in str(failed.value)
    assert "Not ready: a model" in str(failed.value)


def test_a_container_that_restarts_once_is_given_its_chance() -> None:
    nginx = container("nginx", "restarting", exit_code=1)
    assert failed_container([nginx], set()) is None
    assert failed_container([nginx], {nginx.name}) is not None


@pytest.mark.parametrize("service", ["models", "valkey-password"])
def test_what_has_done_its_work_or_tries_again_is_no_failure(service: str) -> None:
    for state, code in (("exited", 0), ("restarting", 1)):
        one = container(service, state, exit_code=code)
        assert failed_container([one], {one.name}) is None


def test_waiting_has_an_end_only_while_nothing_is_pulled(
    docker: Path, stack: FakeStack, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "STUCK_SECONDS", 0.05)
    write_ps(docker, ("models", "running", {}))
    (docker / "logs").write_text('{"event":"pulling","model":"m","percent":37}\n')
    started = time.monotonic()

    def not_for_long() -> tuple[int, object]:
        if time.monotonic() - started > 0.2:
            (docker / "logs").write_text('{"event":"pull_failed","model":"m","reason":"no network"}\n')
        return 503, {"missing": "model m"}

    stack.answers["/readyz"] = not_for_long
    with pytest.raises(StartFailed, match=r"Not ready: model m\. There was no progress"):
        wait_until_ready(settings(PORT=stack.port), poll_seconds=0)
    assert time.monotonic() - started > 0.2
