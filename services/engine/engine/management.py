"""The routes of Ollama for managing models and accounts, of which the engine has none.

Each answers as Ollama does as far as that goes, and then says what there is instead.
"""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from . import wire
from .errors import BadRequestError, CloudDisabledError, EngineError, ModelNotFoundError, UnsupportedError
from .fields import Fields, checked
from .inventory import answer, body_of, state_of
from .names import Name, parse_name

INSTEAD = "the models of the embedded engine are the one built in and the GGUF files in ENGINE_MODELS_DIR"

_NAMED: Fields = {"model": "string", "name": "string"}
_COPY: Fields = {"source": "string", "destination": "string"}
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


async def status(request: Request) -> Response:
    return answer({"cloud": {"disabled": True, "source": "config"}})


async def recommendations(request: Request) -> Response:
    """None: what Ollama recommends would have to be pulled, or runs elsewhere."""
    return answer({"recommendations": []})


async def pull(request: Request) -> Response:
    """A model that is there already has been pulled, for all that a client can tell."""
    body = await _body(request, "PullRequest", {**_NAMED, "stream": "bool", "insecure": "bool"})
    name = _name(body)
    if name is None:
        raise BadRequestError("invalid model name")
    await _known(request, name, f"the embedded engine has no pulling: {INSTEAD}")
    done = {"status": "success"}
    if body.get("stream", True):
        return Response(wire.line(done), media_type="application/x-ndjson")
    return answer(done)


async def push(request: Request) -> Response:
    body = await _body(request, "PushRequest", _NAMED)
    if not (body.get("model") or body.get("name")):
        raise BadRequestError("model is required")
    raise UnsupportedError("the embedded engine has no pushing: it has no account with any registry")


async def create(request: Request) -> Response:
    if _name(await _body(request, "CreateRequest", _NAMED)) is None:
        raise BadRequestError("invalid model name")
    raise UnsupportedError(f"the embedded engine has no creating of models: {INSTEAD}")


async def copy(request: Request) -> Response:
    body = await _body(request, "CopyRequest", _COPY)
    for end in ("source", "destination"):
        if parse_name(body.get(end, "")) is None:
            raise BadRequestError(f'{end} "{body.get(end, "")}" is invalid')
    try:
        await state_of(request).catalogue.find(body["source"])
    except ModelNotFoundError:
        raise EngineError(f'model "{body["source"]}" not found', 404) from None
    raise UnsupportedError(f"the embedded engine has no copying of models: {INSTEAD}")


async def delete(request: Request) -> Response:
    body = await _body(request, "DeleteRequest", _NAMED)
    text = body.get("model") or body.get("name", "")
    if not text:
        raise BadRequestError("model is required")
    if parse_name(text) is None:
        raise BadRequestError(f'name "{text}" is invalid')
    await state_of(request).catalogue.find(text)
    raise UnsupportedError(f"the embedded engine has no deleting of models: {INSTEAD}")


async def blob(request: Request) -> Response:
    """Whether it is there, or that it can't be put there."""
    digest = request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise BadRequestError("invalid digest format")
    if request.method == "HEAD":
        raise EngineError(f'blob "{digest}" not found', 404)
    raise UnsupportedError(f"the embedded engine takes no blobs: {INSTEAD}")


async def account(request: Request) -> Response:
    raise CloudDisabledError("the embedded engine has no account")


async def sign_out(request: Request) -> Response:
    raise EngineError("you are not currently signed in", 401)


async def search_the_web(request: Request) -> Response:
    await body_of(request)
    raise CloudDisabledError("web search is unavailable")


async def fetch_from_the_web(request: Request) -> Response:
    await body_of(request)
    raise CloudDisabledError("web fetch is unavailable")


async def transcribe(request: Request) -> Response:
    raise BadRequestError("no model of the embedded engine supports audio")


async def _body(request: Request, target: str, fields: Fields) -> dict[str, Any]:
    return checked(await body_of(request), fields, f"Go value of type api.{target}", target)


def _name(body: dict[str, Any]) -> Name | None:
    return parse_name(body.get("model") or body.get("name", ""))


async def _known(request: Request, name: Name, refusal: str) -> None:
    try:
        await state_of(request).catalogue.find(name.full)
    except ModelNotFoundError:
        raise UnsupportedError(refusal) from None
