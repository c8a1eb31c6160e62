"""Background responses at OpenAI's own client."""

import openai
from openai.types.responses import Response

from tests.model.clients.answers import RESPONSE
from tests.processes import wait_until

NUMBERS = [*range(len(RESPONSE))]
HALF = 5
"""Events: up to the last piece of text."""


def client_of(url: str, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


def begun(client: openai.OpenAI, model: str) -> str:
    """The id of a response that nobody reads."""
    return client.responses.create(model=model, input="hi", background=True).id


def until_status(client: openai.OpenAI, answer_id: str, status: str) -> Response:
    wait_until(lambda: client.responses.retrieve(answer_id).status == status, 10, status)
    return client.responses.retrieve(answer_id)
