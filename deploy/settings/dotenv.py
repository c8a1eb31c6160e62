"""The .env file, read by Compose's rules, so that it means the same with and without Docker.

`docker compose config --environment` needs Compose 2.27 or newer, and the doctor runs without Docker too.
python-dotenv has other rules (it does not expand `$NAME`), and has to be installed.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from deploy.settings.values import BadSetting

_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*
        (?:'(?P<literal>[^']*)'|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>[^\n]*))""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_REFERENCE = re.compile(
    r"""\$(?: (?P<dollar>\$) | (?P<bare>[A-Za-z_]\w*)
            | \{(?P<braced>\w+) (?:(?P<operator>:?[-+])(?P<word>[^}]*))?\} )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables in the file; none if there is no file. Raises BadSetting."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadSetting(
            f"{path.name} cannot be read ({error.strerror}); it must be a file that this user can read"
        ) from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadSetting(f"{path.name} is not UTF-8, perhaps UTF-16; save it as UTF-8")
    return parse(text, environment)


def parse(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Comments, quotes, `export`, and references to `environment` and to the lines above."""
    values: dict[str, str] = {}

    def resolve(reference: re.Match[str]) -> str:
        if reference["dollar"]:
            return "$"
        name = reference["bare"] or reference["braced"]
        value = environment.get(name, values.get(name))
        operator, word = reference["operator"] or "-", reference["word"] or ""
        is_set = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return word if is_set else ""
        return (value or "") if is_set else word

    for line in _LINE.finditer(text):
        if line["literal"] is not None:
            value = line["literal"]
        elif line["quoted"] is not None:
            value = _REFERENCE.sub(resolve, line["quoted"])
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), value)
        else:
            value = _REFERENCE.sub(resolve, re.sub(r"(^|\s)#.*", "", line["plain"]).strip())
        values[line["name"]] = value
    return values
