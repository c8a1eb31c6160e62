"""The IDs of answers are not in nginx's access log."""

import httpx
import pytest

from tests.integration.programs import line_of
from tests.processes import Process

ID = "planted-4711"


@pytest.mark.parametrize(
    ("method", "path", "logged"),
    [
        ("GET", f"/chat/{ID}?after=3", "/chat/*"),
        ("DELETE", f"/chat/{ID}", "/chat/*"),
        ("GET", f"/chat/{ID}/", "/chat/*"),
        ("GET", f"//chat//{ID}", "/chat/*"),
        ("GET", f"/%63hat/{ID}", "/chat/*"),
        ("GET", f"/chat%2F{ID}", "/chat/*"),
        ("GET", f"/v1/responses/{ID}?stream=true", "/v1/responses/*"),
        ("POST", f"/v1/responses/{ID}/cancel", "/v1/responses/*"),
        ("GET", f"/v1/../v1/responses/{ID}", "/v1/responses/*"),
        ("GET", "/chat", "/chat"),
        ("POST", "/v1/responses", "/v1/responses"),
        ("GET", "/chats/1", "/chats/1"),
    ],
)
def test_the_id_of_an_answer_is_masked(
    edge: tuple[Process, str], client: httpx.Client, method: str, path: str, logged: str
) -> None:
    answer = client.request(method, f"{edge[1]}{path}")
    assert line_of(edge[0], answer.headers["x-request-id"])["path"] == logged
    accesses = [line for line in edge[0].output.splitlines() if line.startswith("{")]
    assert not [line for line in accesses if ID in line]
