import argparse
import os
import re
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import pytest

from gateway.access import keyring as keyring_module
from gateway.access.allow_list import EVERY_MODEL, AllowList
from gateway.access.key_file import KeyFile, NoSuchKey
from gateway.access.keyring import Keyring, startup_problem
from gateway.access.keys import BadKeyFile, check_name, new_key, parse_keys
from gateway.commands import keys as commands
from gateway.commands.keys import duration
from gateway.errors import Unauthorized
from gateway.settings import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def file(path: Path) -> KeyFile:
    return KeyFile(path)


def keyring(path: Path | None, address: str = "") -> Keyring:
    return Keyring(Settings(keys_file=str(path or ""), public_address=address))


def lets_in(ring: Keyring, text: str | None) -> bool:
    try:
        ring.key_of([text] if text else [])
    except Unauthorized:
        return False
    return True


def test_a_key_can_be_recognised_and_of_it_only_a_hash_is_kept(file: KeyFile, path: Path) -> None:
    text = file.create("alice", "user", AllowList(("llama3*", "smollm2:*")), None)
    assert re.fullmatch(r"sk-sluice-[0-9a-f]{8}-[\w-]{43}", text)
    (key,) = file.read()
    assert (key.name, key.role, key.models.patterns) == ("alice", "user", ("llama3*", "smollm2:*"))
    assert key.id in text
    assert text.rpartition(key.id)[2] not in path.read_text()
    assert key.digest.hex() not in repr(key)


def test_the_file_is_for_its_owner_alone_and_nothing_else_is_left_beside_it(
    file: KeyFile, path: Path
) -> None:
    file.create("alice", "user", EVERY_MODEL, None)
    path.chmod(0o644)
    file.create("bob", "admin", EVERY_MODEL, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_comments_and_what_is_not_meant_stay_as_they_are(file: KeyFile, path: Path) -> None:
    file.create("alice", "user", EVERY_MODEL, None)
    file.create("bob", "user", EVERY_MODEL, None)
    path.write_text(path.read_text().replace("alice  user", "alice   user") + "# by hand\n\n#bob was here\n")
    before = path.read_text()
    file.revoke("bob")
    assert path.read_text() == "".join(
        line for line in before.splitlines(keepends=True) if line.startswith("#") or "  bob  " not in line
    )


def test_a_revoked_key_is_gone_by_name_or_by_id(file: KeyFile) -> None:
    file.create("alice", "user", EVERY_MODEL, None)
    file.create("alice", "user", EVERY_MODEL, None)
    file.create("bob", "user", EVERY_MODEL, None)
    assert file.revoke("alice") == 2
    assert file.revoke(file.read()[0].id) == 1
    assert file.read() == []
    with pytest.raises(NoSuchKey):
        file.revoke("alice")


def test_after_a_rotation_both_keys_are_valid_until_the_overlap_is_over(file: KeyFile, path: Path) -> None:
    old = file.create("alice", "user", AllowList(("llama3*",)), None)
    path.write_text(path.read_text().rstrip("\n") + "  # in the office\n")
    new = file.rotate("alice", timedelta(hours=1))
    assert lets_in(keyring(path), old)
    assert lets_in(keyring(path), new)
    first, second = file.read()
    assert first.expires is not None
    assert timedelta(minutes=59) < first.expires - datetime.now(UTC) <= timedelta(hours=1)
    assert (second.expires, second.models.patterns) == (None, ("llama3*",))
    assert "# in the office" in path.read_text()
    file.rotate("alice", timedelta(0))
    assert not lets_in(keyring(path), old)
    assert not lets_in(keyring(path), new)


def test_a_rotation_makes_no_key_last_longer(file: KeyFile) -> None:
    end = datetime.now(UTC) + timedelta(minutes=5)
    file.create("alice", "user", EVERY_MODEL, end)
    file.rotate("alice", timedelta(days=1))
    assert all(key.expires == end.replace(microsecond=0) for key in file.read())


def test_an_expired_key_does_not_let_in(file: KeyFile, path: Path) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    alice = file.create("alice", "user", EVERY_MODEL, past)
    assert not lets_in(keyring(path), alice)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda line: line.replace("  user", ""), "line 1: expected six fields"),
        (lambda line: line.replace("user", "root"), "line 1: unknown role root"),
        (lambda line: line[:-1], "line 1: sha256 must be"),
        (lambda line: "x" + line[1:], "line 1: the id must be"),
        (lambda line: line.replace("alice", "al$ce"), "line 1: a name has"),
        (lambda line: line.replace("  -  -", "  a;b  -"), "line 1: models must be patterns"),
        (lambda line: line.replace("  -  -", "  -  tomorrow"), "line 1: expires must be a time"),
        (lambda line: f"{line}  requests=60", "line 1: '60' is not a limit"),
        (lambda line: f"{line}  request=60/m", "line 1: unknown limit request"),
        (lambda line: f"{line}  -  -", "line 1: expected six fields, or seven"),
        (lambda line: f"{line}\n\n{line}", "line 3: the id .* occurs twice"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_without_what_is_secret(
    change: Callable[[str], str], complaint: str
) -> None:
    _, key = new_key("alice", "user")
    with pytest.raises(BadKeyFile, match=complaint) as raised:
        parse_keys(change(key.line()))
    assert key.digest.hex() not in str(raised.value)


def test_a_file_that_cannot_be_used_is_not_written_to(file: KeyFile, path: Path) -> None:
    path.write_text("nonsense\n")
    with pytest.raises(BadKeyFile):
        file.create("alice", "user", EVERY_MODEL, None)
    assert path.read_text() == "nonsense\n"


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


def test_a_line_without_limits_stays_as_it_was(file: KeyFile) -> None:
    file.create("alice", "user", EVERY_MODEL, None)
    (key,) = file.read()
    assert key.line().split()[-1] == key.digest.hex()
    assert parse_keys(key.line() + "  -") == {key.id: key}


@pytest.mark.parametrize("words", [["--tokens", "20x/m"], ["--concurrent", "0"], ["--weight", "half"]])
def test_the_command_refuses_an_invalid_limit(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["set", "alice", *words])
    assert f"argument {words[0]}: '{words[1]}' is not a" in capsys.readouterr().err


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


def test_a_name_is_no_id_of_another_key() -> None:
    with pytest.raises(ValueError, match="like an id"):
        check_name("1f0c2d3e")
