"""Where a key is accepted, that it goes no further, and when a new one applies."""

import json
import os
import subprocess

import httpx
import pytest

from tests.integration.access.guarded import Guarded
from tests.processes import BIN, wait_until


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "X-API-KEY"])
def test_a_key_is_accepted_in_each_clients_header(guarded: Guarded, header: str) -> None:
    prefix = "bearer " if header == "Authorization" else ""
    headers = {header: f"{prefix}{guarded.keys['user']}"}
    assert guarded.client.get("/api/version", headers=headers).status_code == 200
    headers[header] += "x"
    assert guarded.client.get("/api/version", headers=headers).status_code == 401
    assert guarded.client.get("/api/version", params={"key": guarded.keys["user"]}).status_code == 401


def test_a_valid_key_counts_next_to_one_for_another_server(guarded: Guarded) -> None:
    user, admin, gone = (str(guarded.keys[who]) for who in ("user", "admin", "wrong"))
    cases: list[tuple[list[tuple[str, str]], int]] = [
        ([("x-api-key", user), ("Authorization", "Bearer sk-ant-somebody-elses")], 200),
        ([("x-api-key", "sk-ant-somebody-elses"), ("Authorization", f"Bearer {user}")], 200),
        ([("x-api-key", user), ("Authorization", "Basic dXNlcjpwYXNz")], 200),
        ([("x-api-key", user), ("Authorization", f"Bearer {gone}")], 200),
        ([("x-api-key", user), ("Authorization", f"Bearer {user}")], 200),
        ([("x-api-key", user), ("Authorization", "Bearer")], 200),
        ([("Authorization", "Bearer other"), ("Authorization", f"Bearer {user}")], 200),
        ([("x-api-key", "other"), ("x-api-key", user)], 200),
        ([("x-api-key", user), ("Authorization", f"Bearer {admin}")], 400),
        ([("x-api-key", gone), ("Authorization", "Bearer other")], 401),
        ([("x-api-key", ""), ("Authorization", "Bearer")], 401),
    ]
    for headers, status in cases:
        answer = guarded.client.get("/v1/models", headers=headers)
        assert answer.status_code == status, headers
        if status == 400:
            assert "two different keys" in answer.json()["error"]["message"]
    asked = guarded.client.get("/api/version", headers=cases[0][0]).headers["x-request-id"]
    wait_until(lambda: asked in guarded.process.output, 5, "the request is in the log")
    (line,) = (line for line in guarded.process.output.splitlines() if asked in line)
    assert json.loads(line)["key"] == "user"


def test_only_the_body_of_a_request_goes_upstream(guarded: Guarded) -> None:
    headers = {
        "Authorization": f"Bearer {guarded.keys['user']}",
        "X-API-Key": "other",
        "Cookie": "a=b",
        "Origin": "http://x",
        "Referer": "http://x",
        "X-Forwarded-For": "192.0.2.1",
    }
    response = guarded.client.post("/api/generate", json={"model": "llama3:8b"}, headers=headers)
    assert response.status_code == 200
    upstream = guarded.fake.received[-1].headers
    assert not upstream.keys() & {name.lower() for name in headers}
    assert not any(value in "".join(upstream.values()) for value in headers.values())


def test_a_content_type_that_is_not_ascii_goes_upstream_unchanged_and_an_encoding_does_not(
    guarded: Guarded,
) -> None:
    key = f"Bearer {guarded.keys['user']}"
    headers = [
        (b"Authorization", key.encode()),
        (b"Content-Type", b"x/\xe9"),
        (b"Content-Encoding", b"zstd"),
    ]
    answer = guarded.client.post("/api/show", content=b'{"model":"llama3:8b"}', headers=headers)
    assert answer.status_code == 200
    upstream = guarded.fake.received[-1].headers
    assert upstream["content-type"] == "x/\xe9"
    assert "content-encoding" not in upstream


def test_all_workers_apply_a_new_key_within_five_seconds(guarded: Guarded) -> None:
    made = subprocess.run(
        [BIN / "gateway", "keys", "create", "new", "--expires", "1d"],
        env={**os.environ, "GATEWAY_KEYS_FILE": str(guarded.folder / "keys")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}

    def lets_in() -> bool:
        # A connection stays with its worker.
        answers = [httpx.get(f"{guarded.url}/api/version", headers=headers) for _ in range(12)]
        return all(answer.status_code == 200 for answer in answers)

    wait_until(lets_in, 5, "the key lets in")
    assert made.stdout.strip() not in (guarded.folder / "keys").read_text()
    assert "gateway_keys_file_ok 1.0" in guarded.ask("GET", "/metrics", "metrics").text
    assert guarded.ask("GET", "/readyz", "none").json()["access"] == "keys"
