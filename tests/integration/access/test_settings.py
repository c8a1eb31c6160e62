"""Access that depends on the settings, and settings that prevent the start."""

import json
import os
import re
import subprocess
from pathlib import Path

import httpx

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from tests.fakes.ollama import FakeOllama
from tests.integration.programs import gateway
from tests.processes import BIN, wait_until


def test_an_invalid_key_file_at_the_start_is_logged_as_json(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("nonsense")
    settings = {"GATEWAY_KEYS_FILE": str(tmp_path / "keys")}
    with gateway("http://127.0.0.1:9", tmp_path, **settings) as (process, url):
        assert httpx.get(f"{url}/api/version").status_code == 401
    lines = [json.loads(text) for text in process.output.splitlines()]
    told = [line for line in lines if line["event"] == "key_file_invalid"]
    assert told
    assert {line["previous_keys_in_use"] for line in told} == {0}


def test_pages_of_this_machine_may_read_until_there_is_a_key(tmp_path: Path) -> None:
    settings = {"GATEWAY_KEYS_FILE": str(tmp_path / "keys"), "GATEWAY_CORS_ORIGINS": "https://*.example.org"}
    preflight = {"Access-Control-Request-Method": "POST"}

    def readers(url: str) -> set[str]:
        origins = (
            "http://localhost:5173",
            "tauri://localhost",
            "https://ui.example.org",
            "https://evil.example",
        )
        answers = [httpx.get(f"{url}/api/version", headers={"Origin": origin}) for origin in origins]
        asked = [httpx.options(f"{url}/chat", headers={"Origin": origin, **preflight}) for origin in origins]
        got = [answer.headers.get("access-control-allow-origin") for answer in answers]
        assert got == [answer.headers.get("access-control-allow-origin") for answer in asked]
        return {origin for origin in got if origin}

    with FakeOllama().running() as fake, gateway(fake.url, tmp_path, **settings) as (_, url):
        assert readers(url) == {"http://localhost:5173", "tauri://localhost", "https://ui.example.org"}
        KeyFile(tmp_path / "keys").create("me", "user", EVERY_MODEL, None)
        wait_until(lambda: httpx.get(f"{url}/api/version").status_code == 401, 10, "keys are needed")
        assert readers(url) == {"https://ui.example.org"}


def test_an_impossible_origin_stops_the_start() -> None:
    started = subprocess.run(
        [BIN / "gateway", "serve"],
        env={**os.environ, "GATEWAY_CORS_ORIGINS": "https://ui.example/app"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert started.returncode == 1
    assert "GATEWAY_CORS_ORIGINS: " in started.stderr
    assert "'https://ui.example/app' is not an origin that browsers send: it has a path" in started.stderr


def test_a_refused_account_request_says_what_pushing_needs(tmp_path: Path) -> None:
    """`ollama push` makes this request before it pushes."""
    with FakeOllama().running() as fake:
        for settings in ({}, {"GATEWAY_ADMIN_API": "on"}):
            with gateway(fake.url, tmp_path, **settings) as (_, url):
                for method, path in (
                    ("POST", "/api/me"),
                    ("POST", "/api/signout"),
                    ("DELETE", "/api/user/keys/x"),
                ):
                    answer = httpx.request(method, f"{url}{path}")
                    assert answer.status_code == 403
                    got = re.findall(r"GATEWAY_\w+", answer.json()["error"])
                    assert got[-2:] == ["GATEWAY_ACCOUNT_API", "GATEWAY_PUSH_REGISTRIES"]
                    assert ("GATEWAY_ADMIN_API" in got) is (not settings)
                if settings:
                    pushed = httpx.post(f"{url}/api/push", json={"model": "x"})
                    assert "GATEWAY_PUSH_REGISTRIES" in pushed.json()["error"]
        assert not fake.received


def test_beyond_loopback_the_gateway_does_not_start_without_a_key() -> None:
    started = subprocess.run(
        [BIN / "gateway", "serve"],
        env={**os.environ, "GATEWAY_HOST": "0.0.0.0"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert started.returncode == 1
    assert "make key NAME=" in started.stderr
