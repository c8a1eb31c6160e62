"""Builds an Ask from a request: the only place where a body is read and decoded."""

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from ..access.caller import Caller
from ..settings import Settings
from .affinity import LoadOptions, load_options
from .ask import Ask, upstream_headers, upstream_path
from .fields import Fields, fields_of, run_in_steps
from .form import Form
from .max_output import limited, max_output
from .request_body import Upload, read_body
from .route import Route


async def read(request: Request, route: Route, caller: Caller, settings: Settings) -> Ask:
    """Read a request, and limit the length of its answer.

    Raises InvalidRequest, BodyTooLarge, NotServed, ClientGone.
    """
    if route.upload:
        return _ask(request, route, caller, Upload(request), Fields(), frozenset())
    # A body has no meaning for GET, and servers differ in what they do with one.
    has_body = route.method not in ("GET", "HEAD")
    body = await read_body(request, settings.max_body_bytes) if has_body else b""
    if not route.form:
        fields = await run_in_steps(fields_of(body))
        options = await run_in_steps(load_options(fields)) if route.has_options else frozenset()
        if most := max_output(settings, caller):
            body = await run_in_steps(limited(body, fields, route, most))
        return _ask(request, route, caller, body, fields, options)
    headers = MutableHeaders(scope=request.scope)
    # In a thread: parsing ten megabytes would block the event loop.
    form = await asyncio.to_thread(Form, body, headers.get("content-type", ""))
    body, headers["content-type"] = await asyncio.to_thread(form.serialised)
    return _ask(request, route, caller, body, form.fields, frozenset())


def _ask(
    request: Request,
    route: Route,
    caller: Caller,
    body: bytes | Upload,
    fields: Fields,
    options: LoadOptions,
) -> Ask:
    return Ask(
        route,
        caller,
        upstream_path(request, route),
        upstream_headers(request, body),
        body,
        fields,
        request.path_params.get("model"),
        options,
        server=request.headers.get("x-backend"),
    )
