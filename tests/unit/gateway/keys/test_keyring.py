"""Which keys are accepted: expired, wrong and changed ones, broken files, and hosts that others can reach."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import pytest

from gateway.access import keyring as keyring_module
from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.keyring import Keyring, startup_problem
from gateway.settings import Settings
from tests.unit.gateway.keys.keyrings import keyring, lets_in


def test_an_expired_key_does_not_let_in(file: KeyFile, path: Path) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    alice = file.create("alice", "user", EVERY_MODEL, past)
    assert not lets_in(keyring(path), alice)


def test_a_change_is_taken_at_the_next_look(file: KeyFile, path: Path) -> None:
    ring = keyring(path)
    assert ring.is_open
    alice = file.create("alice", "user", EVERY_MODEL, None)
    ring.reload()
    assert not ring.is_open
    assert lets_in(ring, alice)
    assert not lets_in(ring, None)
    file.revoke("alice")
    ring.reload()
    assert not lets_in(ring, alice)
    assert not lets_in(ring, None)


BROKEN: dict[str, Callable[[Path], object]] = {
    "nonsense": lambda path: path.write_text("nonsense"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a million lines": lambda path: path.write_text("# nothing\n" * 1_000_000),
    "gone": lambda path: None,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_leaves_the_last_good_one_in_force_and_says_so_once(
    file: KeyFile, path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = file.create("alice", "user", EVERY_MODEL, None)
    good = path.read_text()
    ring = keyring(path)
    path.unlink()
    BROKEN[how](path)
    ring.reload()
    ring.reload()
    assert not ring.file_ok
    assert lets_in(ring, alice)
    assert not lets_in(ring, None)
    assert capsys.readouterr().out.count("problem") == 1
    if how == "a folder":
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_text(good)
    ring.reload()
    assert ring.file_ok


def test_a_file_that_is_broken_from_the_start_lets_nobody_in(path: Path) -> None:
    path.write_text("nonsense")
    ring = keyring(path)
    assert not ring.file_ok
    assert not lets_in(ring, None)


@pytest.mark.parametrize(
    "wrong", ["", "x", "sk-sluice-", "sk-sluice-00000000-x", "sk-sluice-\u00e9-", "same id", "same but one"]
)
def test_every_wrong_key_takes_the_same_way(
    file: KeyFile, path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = file.create("alice", "user", EVERY_MODEL, None)
    compared: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one) + len(other))
        return one == other

    monkeypatch.setattr(keyring_module, "compare_digest", compare)
    last = "a" if alice[-1] != "a" else "b"
    wrong = {"same id": alice[:19] + "x" * 43, "same but one": alice[:-1] + last}.get(wrong, wrong)
    assert not lets_in(keyring(path), wrong)
    assert compared == ([64] if wrong else [])


def test_a_wrong_key_takes_the_same_steps_however_much_of_it_is_right(file: KeyFile, path: Path) -> None:
    alice = file.create("alice", "user", EVERY_MODEL, None)
    ring = keyring(path)

    def steps(text: str) -> list[str]:
        """Every function that is called on the way, Python's own included."""
        called: list[str] = []

        def note(frame: FrameType, event: str, function: object) -> None:
            called.append(f"{event} {getattr(function, '__name__', frame.f_code.co_name)}")

        sys.setprofile(note)
        try:
            assert not lets_in(ring, text)
        finally:
            sys.setprofile(None)
        return called

    ways = [steps(alice[:right] + "x" * (len(alice) - right)) for right in range(len(alice))]
    assert len(ways[0]) > 5
    assert [right for right, way in enumerate(ways) if way != ways[0]] == []


def test_who_takes_a_dead_workers_place_lets_nobody_in_where_there_were_keys(
    file: KeyFile, path: Path, tmp_path: Path
) -> None:
    settings = Settings(keys_file=str(path))
    had_keys = tmp_path / "had-one"
    assert Keyring(settings, had_keys).is_open
    worker = Keyring(settings, had_keys)
    alice = file.create("alice", "user", EVERY_MODEL, None)
    worker.reload()
    path.unlink()
    replacement = Keyring(settings, had_keys)
    assert not replacement.is_open
    assert not replacement.file_ok
    assert not lets_in(replacement, None)
    KeyFile(path).create("bob", "user", EVERY_MODEL, None)
    replacement.reload()
    assert replacement.file_ok
    assert not lets_in(replacement, alice)


@pytest.mark.parametrize(
    ("host", "address", "public"),
    [
        ("127.0.0.1", "", False),
        ("0.0.0.0", "", True),
        ("0.0.0.0", "127.0.0.1", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", "[::1]", False),
        ("127.0.0.1", "[::]", True),
        ("127.0.0.1", "localhost", False),
        ("127.0.0.1", "host.example", True),
        ("127.0.0.1", "127.1.2.3", False),
    ],
)
def test_who_can_be_reached_by_others_does_not_start_without_a_key(
    file: KeyFile, path: Path, host: str, address: str, public: bool
) -> None:
    settings = Settings(host=host, public_address=address, keys_file=str(path))
    assert ("make key NAME=" in (startup_problem(settings) or "")) == public
    assert Keyring(settings).is_open != public
    file.create("old", "user", EVERY_MODEL, datetime.now(UTC))
    assert bool(startup_problem(settings)) == public
    file.create("alice", "user", EVERY_MODEL, None)
    assert startup_problem(settings) is None
