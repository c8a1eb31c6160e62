"""Ollama's routes for managing models, accounts and the cloud, none of which the engine has.

Each checks its request as Ollama does, then says what the engine has instead.
"""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...errors import BadRequestError, CloudDisabledError, EngineError, ModelNotFoundError, UnsupportedError
from ...models.names import Name, parse_name
from ..gojson import codec
from ..gojson.structs import Fields, checked
from ..json_routes import json_body, json_response, state_of

INSTEAD = "it serves its built-in model and the GGUF files in ENGINE_MODELS_DIR"

_NAMED: Fields = {"model": "string", "name": "string"}
_COPY: Fields = {"source": "string", "destination": "string"}
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


async def status(request: Request) -> Response:
    return json_response({"cloud": {"disabled": True, "source": "config"}})


async def recommendations(request: Request) -> Response:
    """None: the models that Ollama recommends must be pulled or run in its cloud."""
    return json_response({"recommendations": []})


async def pull(request: Request) -> Response:
    """Succeeds for a model that is already there, as pulling it again does."""
    body = await _body(request, "PullRequest", {**_NAMED, "stream": "bool", "insecure": "bool"})
    name = _name(body)
    if name is None:
        raise BadRequestError("invalid model name")
    try:
        await state_of(request).catalogue.find(name.full)
    except ModelNotFoundError:
        raise UnsupportedError(f"the embedded engine can't pull models: {INSTEAD}") from None
    success = {"status": "success"}
    if body.get("stream", True):
        return Response(codec.encode_line(success), media_type="application/x-ndjson")
    return json_response(success)


async def push(request: Request) -> Response:
    body = await _body(request, "PushRequest", _NAMED)
    if not (body.get("model") or body.get("name")):
        raise BadRequestError("model is required")
    raise UnsupportedError("the embedded engine can't push models: it has no registry account")


async def create(request: Request) -> Response:
    if _name(await _body(request, "CreateRequest", _NAMED)) is None:
        raise BadRequestError("invalid model name")
    raise UnsupportedError(f"the embedded engine can't create models: {INSTEAD}")


async def copy(request: Request) -> Response:
    body = await _body(request, "CopyRequest", _COPY)
    for end in ("source", "destination"):
        if parse_name(body.get(end, "")) is None:
            raise BadRequestError(f'{end} "{body.get(end, "")}" is invalid')
    try:
        await state_of(request).catalogue.find(body["source"])
    except ModelNotFoundError:
        raise EngineError(f'model "{body["source"]}" not found', 404) from None
    raise UnsupportedError(f"the embedded engine can't copy models: {INSTEAD}")


async def delete(request: Request) -> Response:
    body = await _body(request, "DeleteRequest", _NAMED)
    text = body.get("model") or body.get("name", "")
    if not text:
        raise BadRequestError("model is required")
    if parse_name(text) is None:
        raise BadRequestError(f'name "{text}" is invalid')
    await state_of(request).catalogue.find(text)
    raise UnsupportedError(f"the embedded engine can't delete models: {INSTEAD}")


async def blob(request: Request) -> Response:
    """HEAD checks whether a blob exists, POST uploads it."""
    digest = request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise BadRequestError("invalid digest format")
    if request.method == "HEAD":
        raise EngineError(f'blob "{digest}" not found', 404)
    raise UnsupportedError(f"the embedded engine can't store blobs: {INSTEAD}")


async def account(request: Request) -> Response:
    raise CloudDisabledError("the embedded engine has no account")


async def sign_out(request: Request) -> Response:
    raise EngineError("you are not currently signed in", 401)


async def web_search(request: Request) -> Response:
    await json_body(request)
    raise CloudDisabledError("web search is unavailable")


async def web_fetch(request: Request) -> Response:
    await json_body(request)
    raise CloudDisabledError("web fetch is unavailable")


async def transcribe(request: Request) -> Response:
    raise BadRequestError("no model of the embedded engine supports audio")


async def _body(request: Request, target: str, fields: Fields) -> dict[str, Any]:
    return checked(await json_body(request), fields, f"Go value of type api.{target}", target)


def _name(body: dict[str, Any]) -> Name | None:
    return parse_name(body.get("model") or body.get("name", ""))
