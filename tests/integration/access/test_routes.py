"""Every route with every kind of key; the routes come from the table of routes."""

import socket
from typing import Any

import pytest

from gateway.access.roles import RouteClass
from gateway.app import PARTS
from gateway.dialects.api import api_of
from gateway.errors import Unauthorized
from tests.integration.access.guarded import CLASSES, DIGEST, Guarded

ALLOWED: dict[str, set[RouteClass | None]] = {
    "none": {None},
    "wrong": {None},
    "not a key": {None},
    "expired": {None},
    "user": {None, "inference", "read"},
    "restricted": {None, "inference", "read"},
    "admin": {None, "inference", "read", "admin", "metrics"},  # account and web are switched off
    "metrics": {None, "metrics"},
}


def test_every_route_has_a_class() -> None:
    routes: list[Any] = [route for part in PARTS for route in part.router.routes]
    mounted = {(method, route.path) for route in routes for method in route.methods}
    assert mounted == set(CLASSES)


@pytest.mark.parametrize("who", ALLOWED)
def test_every_role_can_use_only_its_routes(guarded: Guarded, who: str) -> None:
    for (method, path), kind in CLASSES.items():
        there = path.replace("{digest}", DIGEST).replace("{model:path}", "llama3:8b")
        body = {"model": "llama3:8b", "messages": [{"role": "user", "content": "x"}], "source": "llama3:8b"}
        before = len(guarded.fake.received)
        response = guarded.ask(method, there, who, body if method in ("POST", "DELETE") else None)
        case = f"{who}: {method} {path} is {response.status_code}"
        if kind in ALLOWED[who]:
            assert response.status_code not in (401, 403), case
            continue
        is_known = who in ("user", "restricted", "admin", "metrics")
        assert response.status_code == (403 if is_known else 401), case
        assert ("www-authenticate" in response.headers) != is_known, case
        assert len(guarded.fake.received) == before, case
        if method != "HEAD":
            shape = api_of(there).error_body(Unauthorized("x"), "x")
            assert response.json().keys() == shape.keys(), case


def test_another_spelling_of_a_path_grants_no_more(guarded: Guarded) -> None:
    before = len(guarded.fake.received)
    for (method, path), kind in CLASSES.items():
        there = path.replace("{digest}", DIGEST).replace("{model:path}", "secret")
        for spelling in (
            f"/{there}",
            f"{there}/",
            f"{there}//",
            there.replace("/", "//"),
            f"/%2f{there[1:]}",
        ):
            if kind is not None:
                assert guarded.ask(method, spelling, "none").status_code == 401, f"{method} {spelling}"
            if kind in ("admin", "account", "metrics"):
                assert guarded.ask(method, spelling, "restricted").status_code == 403, f"{method} {spelling}"
    assert guarded.ask("GET", "/v1/models/secret/", "restricted").status_code == 404
    assert guarded.ask("POST", "//api//show/", "restricted", {"model": "secret"}).status_code == 404
    assert guarded.ask("GET", "/v1//models//hf.co//org//llama3/", "restricted").status_code == 404
    assert len(guarded.fake.received) == before


def test_a_request_without_a_valid_key_is_answered_before_its_body_arrives(guarded: Guarded) -> None:
    host, port = guarded.url.removeprefix("http://").split(":")
    for path in ("/chat", "/v1/messages", f"/api/blobs/{DIGEST}"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")
