"""The key file: what it keeps, what changes it, and what is wrong in it."""

import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.access.allow_list import EVERY_MODEL, AllowList
from gateway.access.key_file import KeyFile, NoSuchKey
from gateway.access.keys import BadKeyFile, check_name, new_key, parse_keys
from tests.unit.gateway.keys.keyrings import keyring, lets_in


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


def test_a_name_is_no_id_of_another_key() -> None:
    with pytest.raises(ValueError, match="like an id"):
        check_name("1f0c2d3e")


def test_a_line_without_limits_stays_as_it_was(file: KeyFile) -> None:
    file.create("alice", "user", EVERY_MODEL, None)
    (key,) = file.read()
    assert key.line().split()[-1] == key.digest.hex()
    assert parse_keys(key.line() + "  -") == {key.id: key}
