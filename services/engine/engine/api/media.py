"""Images and audio in requests of OpenAI's and Anthropic's APIs, as the base64 of Ollama's own API."""

import base64
import binascii

from ..errors import BadRequestError

_PREFIXES = ("data:;base64,", *(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp")))


def base64_of_url(url: str) -> str:
    if url.startswith(("http://", "https://")):
        raise BadRequestError(
            "image URLs are not currently supported, please use base64 encoded data instead"
        )
    for prefix in _PREFIXES:
        if url.startswith(prefix):
            return _checked(url.removeprefix(prefix), "invalid image input")
    raise BadRequestError("invalid image input")


def checked_base64(data: str, message: str) -> str:
    return _checked(data, f"{message}: illegal base64 data at input byte 0")


def _checked(data: str, message: str) -> str:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestError(message) from error
    return data
