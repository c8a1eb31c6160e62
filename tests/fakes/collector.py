"""An OTLP collector that stores what it receives: a real server on a real socket."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Span:
    """A span as received, with the attributes of its resource."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.paths: set[str] = set()
        self.url = ""
        self.status = 200

    @property
    def spans(self) -> list[Span]:
        return [
            _span(span, _values(resource["resource"]["attributes"]))
            for body in self.bodies
            for resource in json.loads(body)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def has(self, batches: int) -> bool:
        return len(self.bodies) >= batches

    def of(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace, by name."""
        return {span.name: span for span in self.spans if span.trace_id == trace_id}

    @contextmanager
    def running(self) -> Iterator["Collector"]:
        """Serves in its own thread."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.paths.add(self.path)
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(collector.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Logs nothing, to keep the tests' output clean."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def _span(span: dict[str, Any], resource: dict[str, Any]) -> Span:
    return Span(
        name=span["name"],
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        start=int(span["startTimeUnixNano"]),
        end=int(span["endTimeUnixNano"]),
        failed=span.get("status", {}).get("code") == 2,
        attributes=_values(span.get("attributes", [])),
        resource=resource,
    )


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """OTLP's JSON writes 64-bit integers as strings."""
    return {
        item["key"]: int(value) if kind == "intValue" else value
        for item in attributes
        for kind, value in item["value"].items()
    }
