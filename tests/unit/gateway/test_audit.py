"""What is managed is written down, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings
from gateway.telemetry import audit as module
from gateway.telemetry.audit import Audit
from tests.processes import wait_until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "MAX_AGE_SECONDS", 0.1)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_line_is_written_with_its_time(tmp_path: Path) -> None:
    file = tmp_path / "audit"
    audit = Audit(Settings(audit_file=str(file)))
    audit.write(what="POST /api/pull", models=["m"])
    wait_until(lambda: lines(file), 10, "the line is written")
    (line,) = lines(file)
    assert {"event": "audit", "what": "POST /api/pull", "models": ["m"]}.items() <= line.items()
    assert line["timestamp"].endswith("+00:00")
    assert (audit.problem, audit.blocks, audit.lost) == (None, False, 0)


def test_a_line_that_cannot_be_written_is_kept_and_written_later(tmp_path: Path) -> None:
    file = tmp_path / "there" / "audit"
    audit = Audit(Settings(audit_file=str(file)))
    audit.write(number=1)
    wait_until(lambda: audit.problem, 10, "it is said")
    assert audit.problem == "1 lines cannot be written: No such file or directory"
    wait_until(lambda: audit.blocks, 10, "managing is refused")
    audit.write(number=2)
    assert audit.waiting == 2
    file.parent.mkdir()
    wait_until(lambda: not audit.waiting, 10, "they are written")
    wait_until(lambda: not audit.problem, 10, "nothing is wrong any more")
    assert [line["number"] for line in lines(file)] == [1, 2]
    assert not audit.blocks


def test_without_a_file_nothing_is_refused_but_what_is_too_much_goes_into_the_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "MAX_LINES", 2)
    monkeypatch.setattr("os.write", fails)
    audit = Audit(Settings())
    for number in range(4):
        audit.write(number=number)
    wait_until(lambda: audit._is_late(), 10, "they are late")
    assert (audit.waiting, audit.lost, audit.blocks) == (2, 2, False)
    assert "2 lines cannot be written: No space" in str(audit.problem)
    monkeypatch.undo()
    wait_until(lambda: not audit.waiting, 30, "they are written")
    said = capfd.readouterr()
    assert [json.loads(line)["number"] for line in said.err.splitlines()] == [2, 3]
    assert said.out.count("audit_line_lost") == 2


def test_what_still_waits_at_the_end_goes_into_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "EXIT_SECONDS", 0.1)
    audit = Audit(Settings(audit_file=str(tmp_path / "nowhere" / "audit")))
    audit.write(number=1)
    audit._finish()
    assert (audit.waiting, audit.lost) == (0, 1)
    said = capsys.readouterr().out
    assert "audit_line_lost" in said
    assert '"number": 1' in said
