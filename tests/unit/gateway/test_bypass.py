"""What would be ignored for most of an answer is refused at the start."""

import pytest
from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.app import create_app
from gateway.http.bypass import Bypassed, refuse_middleware, refuse_wrappers
from gateway.http.cors import Cors
from gateway.settings import Settings


def test_middleware_that_changes_bodies_is_refused() -> None:
    api = FastAPI()
    api.add_middleware(GZipMiddleware)
    with pytest.raises(Bypassed, match="GZipMiddleware"):
        refuse_middleware(api)


def test_a_dependency_of_all_routes_is_refused() -> None:
    with pytest.raises(Bypassed, match="a dependency"):
        refuse_middleware(FastAPI(dependencies=[Depends(lambda: None)]))


@pytest.mark.usefixtures("logging_as_before")
def test_what_is_wrapped_around_the_gateway_is_refused_and_uvicorns_own_is_not() -> None:
    app = create_app(Settings())
    refuse_wrappers(app, Cors)
    refuse_wrappers(ProxyHeadersMiddleware(app), Cors)  # type: ignore[arg-type]
    with pytest.raises(Bypassed, match="GZipMiddleware"):
        refuse_wrappers(ProxyHeadersMiddleware(GZipMiddleware(app)), Cors)  # type: ignore[arg-type]
