"""Callers in the log and in the audit log."""

import json

from tests.integration.access.guarded import Guarded
from tests.processes import wait_until


def test_the_audit_log_has_the_canonical_spelling_of_a_path(guarded: Guarded) -> None:
    asked = guarded.ask("POST", "//api//pull/", "user", {"model": "x"}).headers["x-request-id"]

    def written() -> list[dict[str, object]]:
        return [line for line in guarded.audited() if line["request_id"] == asked]

    wait_until(written, 5, "it is written down")
    assert written()[0]["what"] == "POST /api/pull"


def test_the_audit_log_has_caller_and_result(guarded: Guarded) -> None:
    asked = [
        guarded.ask("DELETE", "/api/delete", "admin", {"model": "absent"}),
        guarded.ask("POST", "/api/copy", "restricted admin", {"source": "secret", "destination": "x"}),
        guarded.ask("POST", "/api/pull", "user", {"model": "x"}),
    ]
    others = [
        guarded.ask("POST", "/api/show", "admin", {"model": "llama3:8b"}),
        guarded.ask("POST", "/api/me", "none"),  # without a key: in the log, not in the audit
    ]

    def lines() -> list[dict[str, object]]:
        by_id = {line["request_id"]: line for line in guarded.audited()}
        assert not any(other.headers["x-request-id"] in by_id for other in others)
        return [by_id[id] for response in asked if (id := response.headers["x-request-id"]) in by_id]

    wait_until(lambda: len(lines()) == len(asked), 5, "a line for each is there")
    assert [(line["key"], line["what"], line["models"], line["status"]) for line in lines()] == [
        ("admin", "DELETE /api/delete", ["absent"], 404),
        ("restricted-admin", "POST /api/copy", ["secret", "x"], 404),
        ("user", "POST /api/pull", [], 403),
    ]
    assert all(line["client"] == "127.0.0.1" and line["event"] == "audit" for line in lines())


def test_the_log_has_the_keys_name_and_never_a_key(guarded: Guarded) -> None:
    asked = guarded.ask("GET", "/api/version", "restricted").headers["x-request-id"]
    wait_until(lambda: asked in guarded.process.output, 5, "the request is in the log")
    (line,) = (line for line in guarded.process.output.splitlines() if asked in line)
    assert json.loads(line)["key"] == "restricted"
    secrets = [key for key in guarded.keys.values() if key]
    assert not any(key in guarded.process.output for key in secrets if key != "unused")
