"""Builds an Ask from a request: the only place where a body is read and decoded."""

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from ..access.caller import Caller
from ..settings import Settings
from .ask import Ask, upstream_headers, upstream_path
from .fields import Fields, fields_of, run_in_steps
from .form import Form
from .naming import Models, Names
from .request_body import Upload, read_body
from .rewriting import Draft, Rewriter
from .route import Route


class Reader:
    """`names` finds the models behind aliases, `rewriter` changes what the settings demand."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self._settings = settings
        self.names = Names(settings.alias_table, models)
        self.rewriter = Rewriter(settings, self.names, models)

    async def read(self, request: Request, route: Route, caller: Caller) -> Ask:
        """Raises InvalidRequest, BodyTooLarge, NotServed, ClientGone."""
        named = request.path_params.get("model")
        if route.upload:
            return _ask(request, Draft(route, caller, named, b"", Fields()), Upload(request))
        # A body has no meaning for GET, and servers differ in what they do with one.
        has_body = route.method not in ("GET", "HEAD")
        body = await read_body(request, self._settings.max_body_bytes) if has_body else b""
        if not route.form:
            draft = Draft(route, caller, named, body, await run_in_steps(fields_of(body)))
            await run_in_steps(self.rewriter.rewrite(draft))
            return _ask(request, draft, draft.body)
        headers = MutableHeaders(scope=request.scope)
        # In a thread: parsing ten megabytes would block the event loop.
        form = await asyncio.to_thread(Form, body, headers.get("content-type", ""))
        draft = Draft(route, caller, named, b"", form.fields)
        self.rewriter.find_targets(draft)
        form.replace(draft.targets, route.naming)
        body, headers["content-type"] = await asyncio.to_thread(form.serialised)
        return _ask(request, draft, body)


def _ask(request: Request, draft: Draft, body: bytes | Upload) -> Ask:
    return Ask(
        draft.route,
        draft.caller,
        upstream_path(request, draft.route, draft.targets),
        upstream_headers(request, body),
        body,
        draft.said,
        draft.named,
        draft.targets,
        draft.load_options,
        tuple(draft.changes),
        draft.unloads,
        draft.keep_alive,
        draft.failed,
        request.headers.get("x-backend"),
    )
