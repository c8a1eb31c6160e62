"""What the gateway uses of the insides of uvicorn and gunicorn: a version that has it no more fails here."""

import inspect
import re

import pytest
from gunicorn.arbiter import Arbiter
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from gateway.server.connection import Exchange
from gateway.server.http_protocol import GuardedHttp
from gateway.server.worker import DrainingServer, GatewayWorker

OURS = {HttpToolsProtocol: GuardedHttp, Server: DrainingServer, UvicornWorker: GatewayWorker}

# Methods that are overridden because the base class, or its caller, calls them.
OVERRIDDEN = [
    (HttpToolsProtocol, "connection_made", ["self", "transport"]),
    (HttpToolsProtocol, "connection_lost", ["self", "exc"]),
    (HttpToolsProtocol, "data_received", ["self", "data"]),
    (HttpToolsProtocol, "resume_writing", ["self"]),
    (HttpToolsProtocol, "on_message_begin", ["self"]),
    (HttpToolsProtocol, "on_headers_complete", ["self"]),
    (HttpToolsProtocol, "on_message_complete", ["self"]),
    (HttpToolsProtocol, "on_response_complete", ["self"]),
    (HttpToolsProtocol, "send_400_response", ["self", "msg"]),
    (HttpToolsProtocol, "_start_asgi_task", ["self", "cycle", "app"]),
    (Server, "startup", ["self", "sockets"]),
    (Server, "shutdown", ["self", "sockets"]),
    (UvicornWorker, "init_signals", ["self"]),
    (UvicornWorker, "_serve", ["self"]),
]


@pytest.mark.parametrize(("base", "name", "parameters"), OVERRIDDEN)
def test_what_is_overridden_is_there_with_these_parameters(
    base: type, name: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(base, name)).parameters) == parameters
    assert name in vars(OURS[base])


def test_nothing_else_of_the_base_classes_is_overridden() -> None:
    listed = {(base, name) for base, name, _ in OVERRIDDEN} | {(UvicornWorker, "CONFIG_KWARGS")}
    found = {
        (base, name)
        for base, ours in OURS.items()
        for name in vars(ours)
        if hasattr(base, name) and not name.startswith("__")
    }
    assert found == listed


def attributes_of(kind: type) -> set[str]:
    """What the class has, and what its methods set or use of themselves."""
    return set(dir(kind)) | set(re.findall(r"self\.(\w+)", inspect.getsource(kind)))


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        (
            HttpToolsProtocol,
            {"parser", "app_state", "cycle", "pipeline", "flow", "headers", "url", "scope", "transport"}
            | {"client", "loop", "expect_100_continue", "server_state"},
        ),
        (
            RequestResponseCycle,
            {"scope", "transport", "flow", "message_event", "disconnected", "response_started"}
            | {"response_complete", "chunked_encoding", "expected_content_length"},
        ),
        (FlowControl, {"drain", "read_paused", "write_paused"}),
        (Server, {"config", "server_state", "lifespan", "servers", "started", "serve"}),
        (Config, {"loaded_app", "timeout_graceful_shutdown"}),
        (UvicornWorker, {"_install_sigquit_handler", "config"}),
        (Arbiter, {"WORKER_BOOT_ERROR"}),
    ],
)
def test_what_is_used_is_there(kind: type, used: set[str]) -> None:
    assert used <= attributes_of(kind)


def test_an_exchange_is_what_a_delivery_takes_for_a_connection() -> None:
    assert {"on_lost", "write", "abort"} <= attributes_of(Exchange)
