"""Who may say how long a model stays in memory."""

from typing import Any

import pytest

from gateway.access.caller import Caller
from gateway.access.roles import Role
from gateway.ask.keep_alive import is_set, may_set, only_loads, removed, seconds
from gateway.routes.table import PASSED_ON
from gateway.settings import Settings
from tests.unit.gateway.bodies import read_fields

ROUTES = {route.path: route for route in PASSED_ON}


@pytest.mark.parametrize(
    ("settings", "role", "allowed"),
    [
        ({}, None, True),
        ({}, "user", False),
        ({}, "admin", True),
        ({"keep_alive": "any"}, "user", True),
        ({"keep_alive": "admin"}, None, False),
        ({"keep_alive": "admin", "admin_api": "on"}, None, True),
        ({"keep_alive": "admin", "admin_api": "on"}, "user", False),
        ({"keep_alive": "admin"}, "admin", True),
    ],
)
def test_with_keys_only_admins_may(settings: dict[str, Any], role: Role | None, allowed: bool) -> None:
    caller = Caller("192.0.2.7", role and "alice", role)
    assert may_set(caller, Settings(**settings)) is allowed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"keep_alive":0}', b"{}"),
        (b'{"model":"m", "Keep_Alive" : "5m", "x":1}', b'{"model":"m", "x":1}'),
        (b'{"\\u212aeep_alive":1,"keep_alive":null,"x":"keep_alive"}', b'{"x":"keep_alive"}'),
    ],
)
def test_the_field_is_removed_however_it_is_written(body: bytes, expected: bytes) -> None:
    assert is_set(read_fields(body))
    assert removed(body, read_fields(body)) == expected
    assert not is_set(read_fields(expected))


@pytest.mark.parametrize(
    ("path", "body", "does"),
    [
        ("/api/generate", b'{"keep_alive":0}', True),
        ("/api/generate", b'{"keep_alive":0.0,"prompt":""}', True),
        ("/api/generate", b'{"keep_alive":"0s","prompt":null}', True),
        ("/api/generate", b'{"keep_alive":0,"prompt":"hi"}', False),
        ("/api/generate", b'{"keep_alive":"10m"}', False),
        ("/api/generate", b'{"keep_alive":-1}', False),
        ("/api/generate", b'{"keep_alive":false}', False),
        ("/api/generate", b'{"keep_alive":null}', False),
        ("/api/chat", b'{"keep_alive":"0h0m","messages":[]}', True),
        ("/api/chat", b'{"keep_alive":0,"messages":null}', True),
        ("/api/chat", b'{"keep_alive":0,"messages":[{}]}', False),
        ("/api/embed", b'{"keep_alive":0,"input":"hi"}', False),
    ],
)
def test_a_request_without_anything_to_answer_unloads(path: str, body: bytes, does: bool) -> None:
    fields, route = read_fields(body), ROUTES[path]
    assert (only_loads(fields, route) and seconds(fields, route) == 0) is does
