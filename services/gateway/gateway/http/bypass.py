"""Startup checks that no middleware is installed where two fast paths would bypass it.

`middleware.ShortCut` calls the endpoints of most routes directly: FastAPI's middleware, dependencies and
validation do not run for them. And once an answer streams, `streaming.Generation` writes its frames straight
to the client's connection without calling `send`, so whatever wraps the application sees the head of an
answer, its first frame and its end, and nothing between. Middleware that only inspects requests or adds
headers belongs in `RequestObserver`; middleware that changes bodies cannot be supported.
"""

from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class Bypassed(RuntimeError):
    """Middleware or a dependency that would be bypassed for most of an answer."""


def refuse_middleware(app: FastAPI) -> None:
    """Raises Bypassed if the FastAPI application has middleware or global dependencies."""
    found = [getattr(middleware.cls, "__name__", "?") for middleware in app.user_middleware]
    found += ["a dependency"] * len(app.router.dependencies)
    if found:
        raise Bypassed(
            f"{', '.join(found)}: would be bypassed, routes are called without FastAPI; see {__name__}"
        )


def refuse_wrappers(app: ASGIApp, outermost: type) -> None:
    """Raises Bypassed if anything but uvicorn's own middleware wraps `outermost`, its first layer."""
    inner = app.app if isinstance(app, ProxyHeadersMiddleware) else app
    if not isinstance(inner, outermost):
        raise Bypassed(f"{type(inner).__name__}: would be bypassed by streamed answers; see {__name__}")
