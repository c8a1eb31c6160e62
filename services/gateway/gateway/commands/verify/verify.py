"""`gateway verify`: sends one request, checks how the answer arrives, and prints a record."""

import argparse
import json
import os
import ssl
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from .facts import ModelServer, machine, named, package_versions
from .probe import Answer, ProbeFailed, ask
from .report import render
from .timing import Timing, measure

QUESTION = "Why is the sky blue? Explain it in a few paragraphs."
TOKENS = 160
ENOUGH_EVENTS = 20
FIRST_EVENT_SHARE = 0.3
# Loading the model is not part of the check, and may take minutes.
TIMEOUT = httpx.Timeout(60, read=660)


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    detail: str


def run(arguments: argparse.Namespace) -> int:
    """Print the record. Exit status 0 if every check passed."""
    if arguments.out and not Path(arguments.out).absolute().parent.is_dir():
        print(f"FAILED: the directory of {arguments.out} does not exist", file=sys.stderr)
        return 1
    if arguments.cacert and not Path(arguments.cacert).is_file():
        print(f"FAILED: the file {arguments.cacert} does not exist", file=sys.stderr)
        return 1
    programs = dict(program.split("=", 1) for program in arguments.program)
    trusted = ssl.create_default_context(cafile=arguments.cacert)
    key = os.environ.get("SLUICE_KEY")
    with httpx.Client(
        base_url=arguments.url,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=TIMEOUT,
        trust_env=False,
        verify=trusted,
    ) as client:
        server = ModelServer(client)
        try:
            _reach(client)
            model = arguments.model or first_model(server)
            record = _record(client, server, model, programs)
        except ProbeFailed as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(render(record))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(record, indent=2) + "\n")
        print(f"\nwritten to {arguments.out}")
    return 0 if all(check["passed"] for check in record["checks"]) else 1


def _reach(client: httpx.Client) -> None:
    try:
        client.get("/healthz")
        if client.get("/api/version").status_code == 401:
            raise ProbeFailed("an API key is required: set SLUICE_KEY to a valid one")
    except httpx.HTTPError as error:
        raise ProbeFailed(f"no answer from {client.base_url}: {error}") from error


def first_model(server: ModelServer) -> str:
    models = server.installed()
    for model in models:
        if server.can_chat(model):
            return str(model["name"])
    which = "that can chat" if models else "at all"
    raise ProbeFailed(f"the model server has no model {which}")


def _record(
    client: httpx.Client, server: ModelServer, model: str, programs: dict[str, str]
) -> dict[str, Any]:
    request = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "options": {"num_predict": TOKENS, "seed": 1},
    }
    print(f"loading {model} …", file=sys.stderr, flush=True)
    ask(client, {**request, "options": {"num_predict": 1}}, show=lambda _: None)
    print(f"asking: {QUESTION}\n", file=sys.stderr, flush=True)
    answer = ask(client, request, show=_show)
    print("\n", file=sys.stderr, flush=True)
    if not answer.events:
        raise ProbeFailed("the answer had no events")
    timing = measure([event.arrived for event in answer.events], [event.generated for event in answer.events])
    checks = _checks(client, answer, timing)
    first, last = answer.events[0].data, answer.events[-1].data
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": {True: "streamed", False: "buffered", None: "unknown"}[timing.streamed],
        "checks": [asdict(check) for check in checks],
        "machine": machine(),
        "versions": _versions(server, programs),
        "path": _path(client, server, answer),
        "model": _model(server, model),
        "runtime": _runtime(server, model),
        "request": {"method": "POST", "path": "/chat", "body": request},
        "observed": {
            "request_id": answer.headers.get("x-request-id"),
            "first_event": first,
            "last_event": last,
            "tokens_per_second": _tokens_per_second(last),
            **asdict(timing),
        },
    }


def _show(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _checks(client: httpx.Client, answer: Answer, timing: Timing) -> list[Check]:
    last = answer.events[-1]
    numbers = [event.id for event in answer.events]
    ready = client.get("/readyz")
    metrics = client.get("/metrics")
    share = timing.time_to_first_event / timing.total
    kind = answer.headers.get("content-type", "none")
    return [
        Check("ready", ready.status_code == 200, f"/readyz answers {ready.status_code}"),
        Check("server-sent events", kind == "text/event-stream", f"content-type {kind}"),
        Check(
            "complete",
            last.data.get("done") is True,
            f"the last event is {last.name!r}, done={last.data.get('done')}",
        ),
        Check(
            "nothing lost",
            numbers == list(range(1, len(numbers) + 1)),
            f"ids 1 to {numbers[-1]}, {len(numbers)} events",
        ),
        Check("enough events", timing.events >= ENOUGH_EVENTS, f"{timing.events}, at least {ENOUGH_EVENTS}"),
        Check(
            "spread out",
            timing.distinct_arrivals >= ENOUGH_EVENTS,
            f"{timing.distinct_arrivals} distinct arrival instants, at least {ENOUGH_EVENTS}",
        ),
        Check(
            "first event early",
            share < FIRST_EVENT_SHARE,
            f"after {share:.0%} of the whole time, less than {FIRST_EVENT_SHARE:.0%}",
        ),
        Check("not buffered", timing.streamed is True, _lateness(timing)),
        Check("metrics kept private", metrics.status_code == 403, f"/metrics answers {metrics.status_code}"),
    ]


def _lateness(timing: Timing) -> str:
    if timing.lateness_median is None or timing.lateness_longest is None:
        return "the model server does not report when it created its tokens"
    return (
        f"relative to the fastest event, events were {1000 * timing.lateness_median:.1f} ms late "
        f"(longest {1000 * timing.lateness_longest:.1f} ms)"
    )


def _versions(server: ModelServer, programs: dict[str, str]) -> dict[str, dict[str, str | None]]:
    return {
        "programs": {**programs, server.api: server.version()},
        "packages": {**package_versions(), **server.packages},
    }


def _path(client: httpx.Client, server: ModelServer, answer: Answer) -> list[dict[str, str]]:
    edge = answer.headers.get("server", "unknown")
    return [
        {"hop": "client", "speaks": "HTTP/1.1, POST /chat", "address": str(client.base_url)},
        {"hop": edge, "speaks": "HTTP/1.1, no buffering", "address": urlsplit(str(client.base_url)).netloc},
        {"hop": "gateway", "speaks": "NDJSON in, Server-Sent Events out", "address": "behind it"},
        {"hop": server.name, "speaks": "POST /api/chat, NDJSON", "address": "behind it"},
    ]


def _model(server: ModelServer, model: str) -> dict[str, Any]:
    known = named(server.installed(), model)
    details = known.get("details") or {}
    return {
        "name": model,
        "size_bytes": known.get("size"),
        "parameters": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
        "family": details.get("family"),
        "digest": known.get("digest"),
    }


def _runtime(server: ModelServer, model: str) -> dict[str, Any]:
    loaded = named(server.loaded(), model)
    size, on_gpu = loaded.get("size"), loaded.get("size_vram")
    runs_on = None
    if size:
        runs_on = (
            "CPU" if not on_gpu else "GPU" if on_gpu >= size else f"{on_gpu / size:.0%} GPU, the rest CPU"
        )
    return {
        "runs_on": runs_on,
        "memory_bytes": size,
        "gpu_memory_bytes": on_gpu,
        "context_length": loaded.get("context_length"),
        "threads": server.threads,
    }


def _tokens_per_second(last: dict[str, Any]) -> float | None:
    count, nanoseconds = last.get("eval_count"), last.get("eval_duration")
    return round(count / nanoseconds * 1e9, 1) if count and nanoseconds else None
