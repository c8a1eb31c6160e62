"""HEAD for every GET route."""

from fastapi import APIRouter
from fastapi.routing import APIRoute


def answer_heads(router: APIRouter) -> None:
    """Adds HEAD with the same endpoints: the server drops the body and keeps Content-Length."""
    for route in tuple(router.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)
