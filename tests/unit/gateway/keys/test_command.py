"""`gateway keys`: its output, its exit status and its durations."""

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

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
