"""What two short cuts bypass, and the checks at the start that nothing relies on it.

`middleware.ShortCut` goes past FastAPI for the routes that answer: its middleware, its dependencies and its
validation do not happen there. And once an answer flows, `streaming.Generation` writes its frames straight to
the client's connection: no `send` is called, so whatever wraps the application sees an answer's head, its
first frame and its end, and nothing between. Middleware that only looks at requests or adds headers belongs
into `RequestObserver`; what changes bodies has no place in this process.
"""

from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class Bypassed(RuntimeError):
    """Something would be ignored for most of an answer."""


def refuse_middleware(app: FastAPI) -> None:
    """Raises Bypassed if FastAPI has middleware or dependencies of the whole application."""
    found = [getattr(middleware.cls, "__name__", "?") for middleware in app.user_middleware]
    found += ["a dependency"] * len(app.router.dependencies)
    if found:
        raise Bypassed(f"{', '.join(found)}: routes that answer go past FastAPI, see {__name__}")


def refuse_wrappers(app: ASGIApp, outermost: type) -> None:
    """Raises Bypassed if anything but uvicorn's own is around the gateway, which begins with `outermost`."""
    inner = app.app if isinstance(app, ProxyHeadersMiddleware) else app
    if not isinstance(inner, outermost):
        raise Bypassed(f"{type(inner).__name__}: what is written to a client goes past it, see {__name__}")
