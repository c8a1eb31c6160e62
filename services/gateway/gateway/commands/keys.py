"""`gateway keys`: creates, lists, revokes and rotates API keys."""

import argparse
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from ..access.allow_list import EVERY_MODEL
from ..access.key_file import KeyFile, NoSuchKey
from ..access.keys import NOTHING, BadKeyFile, allow_list, check_name
from ..access.roles import PERMISSIONS
from ..settings import Settings

T = TypeVar("T")

LONGEST = timedelta(days=36525)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create", help="create a key and print it; it is not stored and not shown again"
    )
    create.add_argument("name", type=_value(check_name), help="owner of the key, as shown in logs")
    create.add_argument(
        "--role", choices=PERMISSIONS, default="user", help="what the key permits (default: %(default)s)"
    )
    create.add_argument(
        "--models",
        type=_value(allow_list),
        default=EVERY_MODEL,
        metavar="PATTERNS",
        help="models that the key may use, like 'llama3*,smollm2:*' (default: all)",
    )
    create.add_argument(
        "--expires",
        type=_value(duration),
        metavar="TIME",
        help="lifetime of the key, like 90d (default: unlimited)",
    )
    create.set_defaults(do=_create)
    actions.add_parser("list", help="list the keys").set_defaults(do=_list)
    revoke = actions.add_parser(
        "revoke", help="revoke all keys of a name, or one by its id; takes effect within seconds"
    )
    revoke.add_argument("name", metavar="NAME|ID")
    revoke.set_defaults(do=_revoke)
    rotate = actions.add_parser(
        "rotate", help="create a new key like the old one, which expires after the overlap"
    )
    rotate.add_argument("name", metavar="NAME|ID")
    rotate.add_argument(
        "--overlap",
        type=_value(duration),
        default=timedelta(days=1),
        metavar="TIME",
        help="how long the old key stays valid, like 1h (default: 24h)",
    )
    rotate.set_defaults(do=_rotate)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    if not settings.keys_file:
        return _failed("set GATEWAY_KEYS_FILE to the path of the key file")
    path = Path(settings.keys_file)
    try:
        arguments.do(arguments, KeyFile(path))
    except NoSuchKey:
        return _failed(f"no key has the name or id {arguments.name}; `gateway keys list` shows all")
    except BadKeyFile as error:
        return _failed(f"{path}: {error}")
    except OSError as error:
        return _failed(f"{path}: {error.strerror}")
    return 0


def duration(text: str) -> timedelta:
    """Parse a duration like `90d`, `24h` or `30m`. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise ValueError("a duration is a number and one of s, m, h, d, w, like 90d")
    length = timedelta(**{UNITS[match[2]]: int(match[1])})
    if length > LONGEST:
        raise ValueError("the duration is longer than a hundred years")
    return length


def _create(arguments: argparse.Namespace, file: KeyFile) -> None:
    expires = datetime.now(UTC) + arguments.expires if arguments.expires else None
    _show(file.create(arguments.name, arguments.role, arguments.models, expires))


def _list(_: argparse.Namespace, file: KeyFile) -> None:
    rows = [("ID", "NAME", "ROLE", "MODELS", "EXPIRES")]
    for key in file.read():
        expires = f"{key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else NOTHING
        models = ",".join(key.models.patterns) or NOTHING
        rows.append((key.id, key.name, key.role, models, f"{expires}{' (expired)' * key.is_expired()}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _revoke(arguments: argparse.Namespace, file: KeyFile) -> None:
    _say(f"revoked: {file.revoke(arguments.name)}")


def _rotate(arguments: argparse.Namespace, file: KeyFile) -> None:
    _show(file.rotate(arguments.name, arguments.overlap))


def _show(text: str) -> None:
    """Print only the key itself to standard output, for use in scripts."""
    _say("This key is shown only once. It becomes valid within seconds.")
    print(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _failed(reason: str) -> int:
    _say(f"gateway: {reason}")
    return 1


def _value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap `parse` so that argparse shows its error message."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed
