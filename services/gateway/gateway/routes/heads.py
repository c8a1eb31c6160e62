"""HEAD, which is answered wherever GET is."""

from fastapi import APIRouter
from fastapi.routing import APIRoute


def answer_heads(router: APIRouter) -> None:
    """By the same endpoints: the server leaves the body out, and what says how long it would be stays."""
    for route in tuple(router.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)
