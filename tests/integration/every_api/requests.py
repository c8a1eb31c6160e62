"""Requests of every API, as parameters of tests."""

from typing import Any

import httpx
import pytest

from tests.integration.apis import CASES, Case

every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

every_way = pytest.mark.parametrize(
    ("case", "streams"),
    [(case, streams) for case in CASES for streams in (True, False) if streams or case is not CASES[0]],
    ids=lambda value: value.name if isinstance(value, Case) else ("whole", "stream")[value],
)

every_api_that_can_answer_whole = pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)
BLOB = "sha256:" + "0" * 64


def post(url: str, case: Case, model: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}{case.path}", json=case.request(model, **fields), timeout=30)
