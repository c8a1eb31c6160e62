from starlette.routing import Route

from engine.server.app import create_app
from engine.settings import Settings

# Ollama 0.32.15's router.
OLLAMA = {
    "/": {"GET", "HEAD"},
    "/api/version": {"GET", "HEAD"},
    "/api/status": {"GET"},
    "/api/pull": {"POST"},
    "/api/push": {"POST"},
    "/api/tags": {"GET", "HEAD"},
    "/api/show": {"POST"},
    "/api/delete": {"DELETE"},
    "/api/me": {"POST"},
    "/api/signout": {"POST"},
    "/api/user/keys/{key}": {"DELETE"},
    "/api/create": {"POST"},
    "/api/blobs/{digest}": {"HEAD", "POST"},
    "/api/copy": {"POST"},
    "/api/experimental/web_search": {"POST"},
    "/api/experimental/web_fetch": {"POST"},
    "/api/experimental/model-recommendations": {"GET"},
    "/api/ps": {"GET"},
    "/api/generate": {"POST"},
    "/api/chat": {"POST"},
    "/api/embed": {"POST"},
    "/api/embeddings": {"POST"},
    "/v1/chat/completions": {"POST"},
    "/v1/completions": {"POST"},
    "/v1/embeddings": {"POST"},
    "/v1/models": {"GET"},
    "/v1/models/{name:path}": {"GET"},
    "/v1/responses": {"POST"},
    "/v1/audio/transcriptions": {"POST"},
    "/v1/messages": {"POST"},
}


def test_the_engine_has_all_routes_of_ollama_and_its_metrics() -> None:
    routes = [route for route in create_app(Settings()).routes if isinstance(route, Route)]
    known = {route.path: route.methods or set() for route in routes}
    assert set(known) == {*OLLAMA, "/metrics"}
    assert all(methods <= known[path] for path, methods in OLLAMA.items())


def test_head_is_answered_wherever_get_is() -> None:
    routes = [route for route in create_app(Settings()).routes if isinstance(route, Route)]
    assert all("HEAD" in (route.methods or ()) for route in routes if "GET" in (route.methods or ()))
