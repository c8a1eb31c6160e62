from pathlib import Path

import pytest

from deploy.compose.next_steps import show_next_steps
from tests.unit.deploy.compose.machine import FakeStack, MakeSettings, write_ps


def test_at_the_end_stands_a_question_that_can_be_pasted(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ps(docker, ("models", "exited", {"ExitCode": 0}))
    stack.answers["/api/tags"] = (200, {"models": [{"name": "smollm2:135m"}]})
    show_next_steps(settings(PORT=stack.port))
    said = capsys.readouterr().err
    question = '{"model": "smollm2:135m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}'
    assert f"curl -N http://127.0.0.1:{stack.port}/chat -d '{question}'" in said


def test_the_question_is_for_a_model_that_can_chat(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    able = {"nomic": ["embedding"], "llama": ["completion"], "other": ["completion"]}
    stack.answers["/api/tags"] = (200, {"models": [{"name": name} for name in ("other", "nomic", "llama")]})
    stack.answers["/api/show"] = lambda: (200, {"capabilities": able[stack.asked[-1][1]["model"]]})
    show_next_steps(settings(PORT=stack.port, MODELS="nomic,llama"))
    assert '{"model": "llama", ' in capsys.readouterr().err


def test_where_a_key_is_needed_it_is_used_but_not_shown(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ps(docker, ("models", "exited", {"ExitCode": 0}))
    stack.answers["/readyz"] = (200, {"status": "ready", "access": "keys"})
    stack.answers["/api/tags"] = (200, {"models": [{"name": "smollm2:135m"}]})
    show_next_steps(settings(PORT=stack.port, SLUICE_KEY="sk-sluice-of-mine"))
    said = capsys.readouterr().err
    assert "-H 'Authorization: Bearer YOUR-KEY'" in said
    assert "of-mine" not in said
    assert set(stack.credentials) == {"Bearer sk-sluice-of-mine"}


def test_with_monitoring_it_is_said_where_the_dashboard_is(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    show_next_steps(settings(PORT=stack.port))
    assert "dashboard" not in capsys.readouterr().err
    show_next_steps(settings(PORT=stack.port, COMPOSE_PROFILES="cpu,monitoring", GRAFANA_PORT=3001))
    said = capsys.readouterr().err
    assert "http://127.0.0.1:3001" in said
    assert "http://127.0.0.1:9090/alerts" in said


@pytest.mark.parametrize(("profiles", "warned"), [("cpu", True), ("cpu,shared", False)])
def test_several_gateways_are_warned_about_only_if_they_share_nothing(
    docker: Path,
    stack: FakeStack,
    settings: MakeSettings,
    capsys: pytest.CaptureFixture[str],
    profiles: str,
    warned: bool,
) -> None:
    write_ps(docker, ("gateway", "running", {}), ("gateway", "running", {}))
    show_next_steps(settings(PORT=stack.port, COMPOSE_PROFILES=profiles))
    said = capsys.readouterr().err
    assert ("Several gateways run" in said) is warned
    assert ("PROFILE=cpu,shared" in said) is warned
