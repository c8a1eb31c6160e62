"""nginx's own errors, read from its files, match the gateway's for the same fault."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from gateway import errors
from gateway.dialects.api import ANTHROPIC, CHAT, OLLAMA, OPENAI, Api
from gateway.errors import GatewayError
from tests.processes import ROOT

NGINX = ROOT / "nginx"
FILES = (
    NGINX / "snippets/errors.conf",
    NGINX / "snippets/failed-tries.conf",
    NGINX / "templates/sluice.conf.template",
)
APIS = {"/chat": CHAT, "/api/chat": OLLAMA, "/v1/chat/completions": OPENAI, "/v1/messages": ANTHROPIC}
REQUEST_ID = "4bf92f3577b34da6"
CHALLENGE = "upstream_http_www_authenticate"  # the header in the gateway's 401

# By nginx's code: the gateway's error for the same fault, and whether its code is the same. Where it differs,
# the code shows that nginx answered and not the gateway.
TWINS: dict[str, tuple[type[GatewayError], bool]] = {
    "bad_request": (errors.NotHttp, True),
    "invalid_api_key": (errors.Unauthorized, True),
    "forbidden": (errors.Forbidden, True),
    "body_too_large": (errors.BodyTooLarge, True),
    "head_too_large": (errors.HeadTooLarge, True),
    "edge_failed": (errors.InternalError, False),
    "gateway_unreachable": (errors.UpstreamUnreachable, False),
    "gateway_failed": (errors.UpstreamFailed, False),
    "gateway_timeout": (errors.UpstreamTimeout, False),
}
WITHOUT_TWIN = {"too_many_failed_tries": "only nginx counts failed attempts per address"}
# The gateway's type differs: these APIs have no type for 431, and use api_error.
TYPE_DIFFERS = {("head_too_large", "openai"), ("head_too_large", "anthropic")}


@dataclass(frozen=True)
class EdgeError:
    status: int
    variables: dict[str, str]
    retry_after: int | None


def inlined(text: str) -> str:
    """The file with the included error snippet in place."""
    return text.replace(
        "include snippets/bad-request.conf;", (NGINX / "snippets/bad-request.conf").read_text()
    )


def edge_errors() -> dict[str, EdgeError]:
    """Each location that answers with an error, by its code."""
    found = {}
    for path in FILES:
        for body in re.split(r"^\s*location ", inlined(path.read_text()), flags=re.MULTILINE)[1:]:
            variables = {name: quoted or bare for name, quoted, bare in SET.findall(body)}
            if answer := re.search(r"return (\d+) \$sluice_error;", body):
                again = re.search(r"add_header Retry-After (\d+) always;", body)
                found[variables["sluice_code"]] = EdgeError(
                    int(answer[1]), variables, int(again[1]) if again else None
                )
    return found


SET = re.compile(r'set \$(sluice_\w+) (?:"([^"]*)"|([^;\s]+));')
MAP = re.compile(r'^map ("?)\$(\w+)\1 \$(\w+) \{(.*?)^\}', re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"""^\s*(~\S+|default|"")\s+(?:'([^']*)'|"([^"]*)"|([^;\s]*));""", re.MULTILINE)
MAPS = {
    name: (
        source,
        [(pattern, single or double or bare) for pattern, single, double, bare in ENTRY.findall(body)],
    )
    for _, source, name, body in MAP.findall((NGINX / "snippets/error-shapes.conf").read_text())
}


def filled(text: str, known: dict[str, str]) -> str:
    """`text` with its $variables substituted: known ones, and those that a map derives from them."""
    return re.sub(r"\$(\w+)", lambda variable: value_of(variable[1], known), text)


def value_of(name: str, known: dict[str, str]) -> str:
    if name in known:
        return filled(known[name], {**known, name: ""})
    source, entries = MAPS[name]
    asked = value_of(source, known)
    default = dict(entries).get("default", "")
    matching = (value for pattern, value in entries if pattern[0] == "~" and re.search(pattern[1:], asked))
    return filled(next(matching, default), known)


EDGE_ERRORS = edge_errors()


def answer_of(code: str, path: str, challenge: str = "") -> tuple[Any, str]:
    """nginx's body for an error, and its message."""
    known = {
        **EDGE_ERRORS[code].variables,
        "uri": path,
        "sluice_request_id": REQUEST_ID,
        "sluice_max_body": "10",
        "sluice_silence": "20",
        CHALLENGE: challenge,
    }
    return json.loads(value_of("sluice_error", known)), value_of("sluice_message", known)


def gateways_answer(code: str, api: Api, message: str) -> dict[str, Any]:
    error = GatewayError.__new__(TWINS[code][0])
    GatewayError.__init__(error, message)
    return api.error_body(error, REQUEST_ID)


def test_every_error_that_nginx_generates_is_compared() -> None:
    assert EDGE_ERRORS.keys() == TWINS.keys() | WITHOUT_TWIN.keys()


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("code", TWINS)
def test_the_same_fault_has_the_same_status_shape_type_and_code(code: str, path: str) -> None:
    twin, same_code = TWINS[code]
    assert EDGE_ERRORS[code].status == twin.status
    api = APIS[path]
    edge, message = answer_of(code, path)
    wanted = gateways_answer(code, api, message)
    if isinstance(edge["error"], dict):
        if not same_code and "code" in edge["error"]:
            assert edge["error"].pop("code") == code
            del wanted["error"]["code"]
        if (code, api.name) in TYPE_DIFFERS:
            assert edge["error"].pop("type") == twin.type
            del wanted["error"]["type"]
    assert edge == wanted


@pytest.mark.parametrize("code", TWINS)
def test_nginx_and_gateway_send_the_same_retry_after(code: str) -> None:
    # No Retry-After for gateway_failed: whether it would fail again is unknown.
    assert EDGE_ERRORS[code].retry_after == TWINS[code][0].retry_after


@pytest.mark.parametrize(
    ("code", "challenge"),
    [
        ("invalid_api_key", errors.Unauthorized.challenge.decode()),
        ("invalid_api_key", errors.InvalidKey.challenge.decode()),
        ("body_too_large", ""),
        ("forbidden", ""),
    ],
)
def test_nginx_and_gateway_use_the_same_message(code: str, challenge: str) -> None:
    _, message = answer_of(code, "/chat", challenge)
    pattern = re.escape(message).replace("10", r"\{\w+\}")
    sources = [path.read_text() for path in (ROOT / "services/gateway/gateway").rglob("*.py")]
    assert any(re.search(rf'"{pattern}"', source) for source in sources), message
