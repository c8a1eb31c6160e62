"""A question to `POST /chat`, whose text must not appear in logs."""

from typing import Any

SECRET = "the-user's-secret"


def question(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": SECRET}], **fields}
