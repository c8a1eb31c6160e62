"""`gateway keys`: its output, its exit status and its durations."""

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.access.key_file import KeyFile
from gateway.commands import keys as commands
from gateway.commands.keys import duration
from gateway.settings import Settings
from tests.unit.gateway.keys.keyrings import keyring, lets_in


def test_the_command_shows_a_key_once_and_lists_what_is_kept_of_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def keys(*words: str, status: int = 0) -> str:
        parser = argparse.ArgumentParser()
        commands.add_arguments(parser)
        settings = Settings(keys_file=str(path))
        assert commands.run(parser.parse_args(words), settings) == status
        return capsys.readouterr().out

    created = keys("create", "alice", "--role", "admin", "--models", "llama3*,smollm2", "--expires", "90d")
    rotated = keys("rotate", "alice", "--overlap", "0s")
    listed = keys("list")
    assert not lets_in(keyring(path), created.strip())
    assert lets_in(keyring(path), rotated.strip())
    assert created.strip() not in listed + path.read_text()
    rows = [line.split() for line in listed.splitlines()]
    assert [row[1:4] for row in rows[1:]] == [["alice", "admin", "llama3*,smollm2"]] * 2
    assert ["(expired)" in row for row in rows[1:]] == [True, False]
    assert [row[-1] for row in rows] == ["LIMITS", "-", "-"]
    keys("revoke", "alice")
    keys("revoke", "alice", status=1)
    path.write_text("nonsense")
    keys("list", status=1)


@pytest.mark.parametrize(
    ("text", "expected"), [("90d", timedelta(90)), ("24h", timedelta(1)), ("2w", timedelta(14))]
)
def test_durations_are_read(text: str, expected: timedelta) -> None:
    assert duration(text) == expected
    with pytest.raises(ValueError, match="a duration is"):
        duration(text[:-1])


def test_no_key_is_for_longer_than_the_calendar_goes() -> None:
    with pytest.raises(ValueError, match="hundred years"):
        duration("999999w")


def test_limits_are_kept_in_the_file_changed_one_by_one_and_inherited_by_a_rotated_key(
    file: KeyFile, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def keys(*words: str, status: int = 0) -> str:
        parser = argparse.ArgumentParser()
        commands.add_arguments(parser)
        assert commands.run(parser.parse_args(words), Settings(keys_file=str(path))) == status
        return capsys.readouterr().err

    keys("create", "bob")
    bob = path.read_text()
    keys("create", "alice", "--requests", "60/m", "--tokens", "20k/m,1M/d", "--concurrent", "2")
    keys("create", "alice", "--weight", "3", "--max-output", "500")
    first, second = (key for key in file.read() if key.name == "alice")
    assert str(first.terms) == "requests=60/m;tokens=20k/m,1M/d;concurrent=2"
    assert str(second.terms) == "max_output=500;weight=3"

    path.write_text(path.read_text().rstrip("\n") + "  # in the office\n")
    assert "changed: 2" in keys("set", "alice", "--concurrent", "-", "--tokens", "1k/m", "--weight", "-")
    assert "changed: 1" in keys("set", second.id, "--requests", "5/s")
    first, second = (key for key in file.read() if key.name == "alice")
    assert str(first.terms) == "requests=60/m;tokens=1k/m"
    assert str(second.terms) == "requests=5/s;tokens=1k/m;max_output=500"
    assert "# in the office" in path.read_text()
    assert path.read_text().startswith(bob)

    keys("rotate", second.id)
    assert file.read()[-1].terms == second.terms
    assert "no key has the name or id carol" in keys("set", "carol", "--weight", "2", status=1)
    assert "at least one of --requests, --tokens" in keys("set", "alice", status=1)


def test_an_empty_limit_is_refused_and_removes_none(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["set", "alice", "--tokens", ""])
    assert "argument --tokens: a limit is like 60/m" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--tokens", "20x/m"], ["--concurrent", "0"], ["--weight", "half"]])
def test_the_command_refuses_an_invalid_limit(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["set", "alice", *words])
    assert f"argument {words[0]}: '{words[1]}' is not a" in capsys.readouterr().err
