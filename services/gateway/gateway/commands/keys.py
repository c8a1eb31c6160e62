"""`gateway keys`: creates, changes, lists, revokes and rotates API keys."""

import argparse
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from ..access.allow_list import EVERY_MODEL
from ..access.key_file import KeyFile, NoSuchKey
from ..access.keys import PREFIX, BadKeyFile, allow_list, check_name
from ..access.roles import PERMISSIONS
from ..access.terms import DEFAULT_TERMS, PARSERS
from ..limits import NOTHING
from ..settings import Settings

T = TypeVar("T")

LONGEST = timedelta(days=36525)
# The metavar and the help of each option that sets one of a key's terms.
OPTIONS = {
    "requests": ("LIMIT", "requests for a model's answer, like 60/m or 10/s,1k/d"),
    "tokens": ("LIMIT", "tokens of prompts and answers, like 20k/m,1M/d"),
    "concurrent": ("N", "requests at the same time, waiting ones included"),
    "max_output": ("TOKENS", "longest answer, in tokens"),
    "weight": ("N", "share of the model among those who wait; twice as much with 2 as with 1"),
}

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class NothingToSet(Exception):
    """`set` without an option."""


class OutputFailed(Exception):
    """Standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        self.error = error


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
    _add_terms(create)
    create.set_defaults(do=_create)
    change = actions.add_parser(
        "set",
        help="change the limits of all keys of a name, or of one by its id; takes effect within seconds",
        description=f"The value {NOTHING} removes a limit: the default in GATEWAY_LIMIT_* applies.",
    )
    change.add_argument("name", metavar="NAME|ID")
    _add_terms(change)
    change.set_defaults(do=_set)
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
    except NothingToSet as error:
        return _failed(str(error))
    except BadKeyFile as error:
        return _failed(f"{path}: {error}")
    except OutputFailed as failure:
        raise failure.error from None  # not a problem of the key file
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


def _add_terms(parser: argparse.ArgumentParser) -> None:
    for name, (metavar, text) in OPTIONS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_value(PARSERS[name]),
            default=argparse.SUPPRESS,  # absent, so that - can be told from an option that is not given
            metavar=metavar,
            help=text,
        )


def _terms(arguments: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(arguments).items() if name in PARSERS}


def _create(arguments: argparse.Namespace, file: KeyFile) -> None:
    expires = datetime.now(UTC) + arguments.expires if arguments.expires else None
    terms = DEFAULT_TERMS.changed(_terms(arguments))
    _show(file.create(arguments.name, arguments.role, arguments.models, expires, terms))


def _set(arguments: argparse.Namespace, file: KeyFile) -> None:
    values = _terms(arguments)
    if not values:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in OPTIONS)
        raise NothingToSet(f"nothing to set: give at least one of {options}")
    _say(f"changed: {file.change_terms(arguments.name, values)}")


def _list(_: argparse.Namespace, file: KeyFile) -> None:
    rows = [("ID", "NAME", "ROLE", "MODELS", "EXPIRES", "LIMITS")]
    for key in file.read():
        expires = f"{key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else NOTHING
        models = ",".join(key.models.patterns) or NOTHING
        expires += " (expired)" * key.is_expired()
        rows.append((key.id, key.name, key.role, models, expires, str(key.terms) or NOTHING))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _revoke(arguments: argparse.Namespace, file: KeyFile) -> None:
    _say(f"revoked: {file.revoke(arguments.name)}")


def _rotate(arguments: argparse.Namespace, file: KeyFile) -> None:
    _show(file.rotate(arguments.name, arguments.overlap))


def _show(text: str) -> None:
    """Print only the key itself to standard output, for use in scripts."""
    _say("This key is shown only once. It becomes valid within seconds.")
    try:
        _print(text)
    except OutputFailed:
        public_id = text.removeprefix(PREFIX).partition("-")[0]
        _say(f"gateway: the key is stored but cannot be shown; remove it: gateway keys revoke {public_id}")
        raise


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        raise OutputFailed(error) from error


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
