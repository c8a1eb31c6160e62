"""Every API, streaming and not, and the bounds of the queue in these tests."""

import pytest

from tests.integration.apis import CASES, CHAT, Case

every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_way = pytest.mark.parametrize(
    ("case", "stream"),
    [(case, stream) for case in CASES for stream in (True, False) if stream or case is not CHAT],
    ids=lambda value: value.name if isinstance(value, Case) else ("whole", "stream")[value],
)
BOUNDS = {"GATEWAY_SLOTS": "1", "GATEWAY_QUEUE": "4", "GATEWAY_QUEUE_PER_CALLER": "3"}
