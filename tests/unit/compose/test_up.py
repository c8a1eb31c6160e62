import json
import subprocess
import sys
import time
from pathlib import Path

import pull_log
import pytest
import up

from tests.outputs import OUTPUTS
from tests.unit.compose.machine import FakeStack, MakeSettings, Program, container

SCRIPTS = Path(up.__file__).parent


@pytest.mark.parametrize(
    ("line", "words", "advances"),
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
        ({"event": "pulled", "model": "m", "fetched_bytes": 1}, "m is there", True),
        (
            {"event": "pull_failed", "model": "m", "reason": "no network", "retry_in_seconds": 3.6},
            "m could not be pulled: no network; again in 4 s",
            False,
        ),
        ({"event": "pull_refused", "model": "m", "reason": "no such"}, "m cannot be had: no such", False),
        (
            {"event": "models_missing", "models": {"m": "no such"}, "todo": "correct it"},
            "missing: m; correct it",
            False,
        ),
        ({"event": "waiting", "level": "info", "url": "http://o"}, "waiting url=http://o", False),
        ({"event": "all_models_there"}, "all models there", False),
        (["odd"], '["odd"]', False),
    ],
)
def test_the_puller_is_told_to_people(line: object, words: str, advances: bool) -> None:
    assert pull_log.read(json.dumps(line)) == pull_log.Line(words, advances)


def test_lines_that_are_no_json_are_shown_as_they_are() -> None:
    assert pull_log.read(" pulling manifest\n").words == "pulling manifest"


@pytest.fixture
def docker(program: Program, tmp_path: Path) -> Path:
    """A folder in which a test writes what `docker compose` says to ps, logs and config."""
    program(
        "docker",
        f"""cd {tmp_path}
echo "$*" >> calls
case "$*" in
  *" ps "*) /bin/cat ps;;
  *" logs "*) /bin/cat logs;;
  *"--profile * config --services") echo nginx ollama ollama-gpu models;;
  *" config --services") echo nginx ollama-gpu models;;
esac""",
    )
    for name in ("ps", "logs"):
        (tmp_path / name).touch()
    return tmp_path


def ps(folder: Path, *containers: tuple[str, str, dict[str, object]]) -> None:
    lines = [
        json.dumps({"Name": f"sluice-{service}-1", "Service": service, "State": state, **more})
        for service, state, more in containers
    ]
    (folder / "ps").write_text("\n".join(lines))


def test_waiting_ends_when_the_stack_is_ready_and_shows_the_pull_meanwhile(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    ps(docker, ("models", "running", {}), ("nginx", "running", {"Health": "healthy"}))
    # With what Compose puts in front of its lines.
    (docker / "logs").write_text(
        '\x1b[2K{"event":"pulling","model":"m","status":"pulling 3f","percent":37}\n'
    )
    answers = iter([(502, {}), (503, {"missing": "model m is not there"}), (200, {})])
    stack.answers["/readyz"] = lambda: next(answers)
    up.wait_until_ready(settings(PORT=stack.port), look_every=0)
    assert [path for path, _ in stack.asked] == ["/readyz"] * 3
    assert "m: pulling, 37%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("gateway", "exited", {"ExitCode": 3}), "gateway has ended with status 3"),
        (("ollama", "running", {"Health": "unhealthy"}), "ollama is not healthy"),
        (("nginx", "restarting", {"ExitCode": 1}), "nginx ends and is restarted again and again"),
        (("models", "exited", {"ExitCode": 1}), "models has ended"),
    ],
)
def test_a_container_that_will_not_come_up_ends_the_waiting_with_its_log(
    docker: Path,
    stack: FakeStack,
    settings: MakeSettings,
    wrong: tuple[str, str, dict[str, object]],
    said: str,
) -> None:
    ps(docker, ("nginx", "running", {}), wrong)
    (docker / "logs").write_text("the last words\n")
    stack.answers["/readyz"] = (503, {"missing": "a model"})
    with pytest.raises(up.StartFailed, match=said) as failed:
        up.wait_until_ready(settings(PORT=stack.port), look_every=0)
    assert "  the last words" in str(failed.value)
    assert "Not ready: a model" in str(failed.value)


def test_a_container_that_restarts_once_is_given_its_chance() -> None:
    nginx = container("nginx", "restarting", exit_code=1)
    assert up._what_is_wrong([nginx], set()) is None
    assert up._what_is_wrong([nginx], {nginx.name}) is not None


def test_a_puller_that_has_done_its_work_or_tries_again_is_no_failure() -> None:
    for state, code in (("exited", 0), ("restarting", 1)):
        models = container("models", state, exit_code=code)
        assert up._what_is_wrong([models], {models.name}) is None


def test_waiting_has_an_end_only_while_nothing_is_pulled(
    docker: Path, stack: FakeStack, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "STUCK_SECONDS", 0.05)
    ps(docker, ("models", "running", {}))
    (docker / "logs").write_text('{"event":"pulling","model":"m","percent":37}\n')
    started = time.monotonic()

    def not_for_long() -> tuple[int, object]:
        if time.monotonic() - started > 0.2:
            (docker / "logs").write_text('{"event":"pull_failed","model":"m","reason":"no network"}\n')
        return 503, {"missing": "model m"}

    stack.answers["/readyz"] = not_for_long
    with pytest.raises(up.StartFailed, match=r"Not ready: model m\. Nothing has moved"):
        up.wait_until_ready(settings(PORT=stack.port), look_every=0)
    assert time.monotonic() - started > 0.2


def test_the_model_server_of_another_profile_is_removed_before_the_start(
    docker: Path, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "before_start", lambda _: [])
    ps(docker, ("nginx", "running", {}), ("ollama", "running", {}), ("an-orphan", "running", {}))
    up.start(settings())
    calls = (docker / "calls").read_text().splitlines()
    assert calls[-3:] == [
        "compose build",
        "compose --profile * rm --stop --force ollama",
        "compose up --detach --build --remove-orphans",
    ]
    assert "removing what another profile has started (ollama)" in capsys.readouterr().err


def test_what_runs_is_left_alone_when_the_other_profile_cannot_be_built(
    docker: Path, program: Program, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "before_start", lambda _: [])
    monkeypatch.setattr(up, "_of_other_profiles", lambda: ["ollama"])
    program("docker", f'echo "$*" >> {docker}/calls; exit 1')
    with pytest.raises(up.StartFailed, match="left alone"):
        up.start(settings())
    assert (docker / "calls").read_text() == "compose build\n"


def test_nothing_is_removed_when_the_profile_stays(docker: Path) -> None:
    ps(docker, ("nginx", "running", {}), ("ollama-gpu", "running", {}), ("models", "exited", {}))
    assert up._of_other_profiles() == []


def test_at_the_end_stands_a_question_that_can_be_pasted(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    ps(docker, ("models", "exited", {"ExitCode": 0}))
    stack.answers["/api/tags"] = (200, {"models": [{"name": "smollm2:135m"}]})
    up.tell(settings(PORT=stack.port))
    said = capsys.readouterr().err
    question = '{"model": "smollm2:135m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}'
    assert f"curl -N http://127.0.0.1:{stack.port}/chat -d '{question}'" in said


def test_the_question_is_for_a_model_that_can_chat(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    able = {"nomic": ["embedding"], "llama": ["completion"], "other": ["completion"]}
    stack.answers["/api/tags"] = (200, {"models": [{"name": name} for name in ("other", "nomic", "llama")]})
    stack.answers["/api/show"] = lambda: (200, {"capabilities": able[stack.asked[-1][1]["model"]]})
    up.tell(settings(PORT=stack.port, MODELS="nomic,llama"))
    assert '{"model": "llama", ' in capsys.readouterr().err


TELLING = [
    sys.executable,
    "-c",
    "import sys; from finding import ok, report; from status_line import StatusLine; "
    "status = StatusLine(); status.show('waiting'); status.end(); report([ok('good')], sys.stdout)",
]


@pytest.mark.parametrize("output", ["its reader is gone", "its disk is full"])
def test_that_nobody_can_hear_it_is_no_reason_to_stop(output: str) -> None:
    with OUTPUTS[output]() as descriptor:
        told = subprocess.run(TELLING, stdout=descriptor, stderr=descriptor, cwd=SCRIPTS, check=False)
    assert told.returncode == 0


def test_nor_that_there_is_nowhere_to_say_it() -> None:
    closed = ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", *TELLING]
    assert subprocess.run(closed, cwd=SCRIPTS, check=False).returncode == 0


def test_where_a_key_is_needed_it_is_used_but_not_shown(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    ps(docker, ("models", "exited", {"ExitCode": 0}))
    stack.answers["/readyz"] = (200, {"status": "ready", "access": "keys"})
    stack.answers["/api/tags"] = (200, {"models": [{"name": "smollm2:135m"}]})
    up.tell(settings(PORT=stack.port, SLUICE_KEY="sk-sluice-of-mine"))
    said = capsys.readouterr().err
    assert "-H 'Authorization: Bearer YOUR-KEY'" in said
    assert "of-mine" not in said
    assert set(stack.credentials) == {"Bearer sk-sluice-of-mine"}


def test_with_monitoring_it_is_said_where_the_dashboard_is(
    docker: Path, stack: FakeStack, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    up.tell(settings(PORT=stack.port))
    assert "dashboard" not in capsys.readouterr().err
    up.tell(settings(PORT=stack.port, COMPOSE_PROFILES="cpu,monitoring", GRAFANA_PORT=3001))
    said = capsys.readouterr().err
    assert "http://127.0.0.1:3001" in said
    assert "http://127.0.0.1:9090/alerts" in said


def test_nothing_is_started_when_the_doctor_fails(
    program: Program, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = program("docker", "exit 1").with_name("calls")
    program("docker", f"echo \"$*\" >> {calls}; echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(up.StartFailed, match="Nothing was started"):
        up.start(settings())
    assert "systemctl start docker" in capsys.readouterr().err
    assert " up " not in calls.read_text()


def test_the_scripts_need_nothing_that_has_to_be_installed() -> None:
    folder = Path(up.__file__).parent
    own = {path.stem for path in (*folder.glob("*.py"), folder / "checks")}
    for path in folder.rglob("*.py"):
        lines = [
            line.split() for line in path.read_text().splitlines() if line.startswith(("import ", "from "))
        ]
        imported = {words[1].partition(".")[0] for words in lines}
        assert imported <= sys.stdlib_module_names | own, path
