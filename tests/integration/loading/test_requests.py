"""Which requests have their model loaded, and how."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.ask.route import Route
from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from tests.fakes.loading import LoadingOllama
from tests.fakes.ollama import DONE, Answer, Do, FakeOllama, line
from tests.integration.apis import sent
from tests.integration.programs import gateway
from tests.processes import wait_until

USER = {"role": "user", "content": "hi"}
CONTENT = {"messages": [USER], "prompt": "hi", "input": "hi", "max_tokens": 5}
ANSWERING = [route for route in (CHAT_ROUTE, *PASSED_ON) if route.operation]
LOADED = Answer([b'{"done":true,"done_reason":"load"}'])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeOllama, str]]:
    settings = {"GATEWAY_ADMIN_API": "on", "GATEWAY_CLOUD_MODELS": "on"}
    with (
        LoadingOllama(0).running() as fake,
        gateway(fake.url, tmp_path_factory.mktemp("loads"), **settings) as (process, url),
    ):
        fake.answer("m", line("a"), DONE)
        process.wait_ready(f"{url}/readyz")
        yield fake, url


@pytest.fixture
def fake(served: tuple[FakeOllama, str]) -> FakeOllama:
    served[0].loads.clear()
    served[0].loading = LOADED
    return served[0]


@pytest.fixture
def url(served: tuple[FakeOllama, str]) -> str:
    return served[1]


def ask(url: str, route: Route, model: str, **fields: Any) -> httpx.Response:
    return httpx.request(
        route.method, f"{url}{route.path}", **sent(route, {"model": model, **CONTENT, **fields}), timeout=30
    )


def know(url: str, fake: FakeOllama, model: str) -> None:
    """Have the gateway know a new model."""
    fake.answer(model, line("a"), DONE)
    httpx.post(f"{url}/api/copy", json={"source": "m", "destination": model})
    count = f'gateway_backend_models{{backend="ollama"}} {len(fake.answers)}.0'
    wait_until(lambda: count in httpx.get(f"{url}/metrics").text, 20, "the gateway has looked")


@pytest.mark.parametrize("route", ANSWERING, ids=lambda route: route.path)
def test_the_first_request_for_a_model_loads_it_and_no_other_does(
    route: Route, fake: FakeOllama, url: str
) -> None:
    model = f"for{route.path.replace('/', '-')}"
    know(url, fake, model)
    asked = len(fake.received)
    for _ in range(5):
        ask(url, route, model)
    assert len(fake.received) == asked + 5
    (load,) = fake.loads
    embeds = route.operation == "embeddings"
    assert load.path == ("/api/embed" if embeds else "/api/generate")
    nothing: dict[str, object] = {"input": []} if embeds else {"stream": False}
    assert json.loads(load.body) == {"model": model, **nothing}
    assert load.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/generate", {}),
        ("/api/generate", {"prompt": "", "keep_alive": 0}),
        ("/api/chat", {"messages": []}),
        ("/chat", {"messages": None, "keep_alive": "10m"}),
        ("/api/embed", {"input": [], "options": {"num_ctx": 512}}),
        ("/api/embed", {"input": ""}),
    ],
)
def test_a_request_that_only_loads_or_unloads_goes_through_as_it_is(
    path: str, fields: dict[str, Any], fake: FakeOllama, url: str
) -> None:
    body = json.dumps({"model": "m", **fields}).encode()
    httpx.post(f"{url}{path}", content=body)
    assert fake.received[-1].body == body


@pytest.mark.parametrize(("keep_alive", "loads"), [("10m", 1), (0, 0)])
def test_a_request_that_only_loads_is_not_the_owner_of_its_load(
    keep_alive: object, loads: int, fake: FakeOllama, url: str
) -> None:
    model = f"only-{keep_alive}"
    know(url, fake, model)
    httpx.post(f"{url}/api/generate", json={"model": model, "keep_alive": keep_alive})
    assert len(fake.loads) == loads


def test_a_model_of_another_host_or_an_unknown_one_is_not_loaded(fake: FakeOllama, url: str) -> None:
    fake.remote["far"] = "https://cloud.example"
    know(url, fake, "far")
    assert ask(url, CHAT_ROUTE, "far").status_code == 200
    assert ask(url, CHAT_ROUTE, "nothing").status_code == 404
    assert not fake.loads


def test_other_options_than_those_of_the_last_load_are_another_load(fake: FakeOllama, url: str) -> None:
    know(url, fake, "options")
    for num_ctx in (2048, 2048, 4096, 4096):
        ask(url, CHAT_ROUTE, "options", options={"num_ctx": num_ctx, "seed": num_ctx})
    options = [json.loads(load.body)["options"] for load in fake.loads]
    assert options == [{"num_ctx": 2048}, {"num_ctx": 4096}]


@pytest.mark.parametrize("keep_alive", [0, "0s", "1ms"])
def test_a_model_that_a_request_has_let_go_is_loaded_for_the_next_one(
    keep_alive: object, fake: FakeOllama, url: str
) -> None:
    model = f"brief-{keep_alive}"
    know(url, fake, model)
    for _ in range(2):
        ask(url, CHAT_ROUTE, model, keep_alive=keep_alive)
        fake.loaded.clear()
    assert len(fake.loads) == 2


def test_a_server_that_refuses_to_load_answers_the_request_itself(fake: FakeOllama, url: str) -> None:
    know(url, fake, "refusing")
    fake.loading = Answer([b'{"error":"\\"refusing\\" does not support generate"}'], 400)
    assert ask(url, CHAT_ROUTE, "refusing").status_code == 200
    assert ask(url, CHAT_ROUTE, "refusing").status_code == 200
    assert len(fake.loads) == 1


def test_a_request_that_got_no_answer_says_nothing_about_its_model(fake: FakeOllama, url: str) -> None:
    know(url, fake, "lost")
    ask(url, CHAT_ROUTE, "lost")
    fake.answer("lost", Do.DROP)
    ask(url, CHAT_ROUTE, "lost")
    fake.loaded.clear()
    ask(url, CHAT_ROUTE, "lost")
    assert len(fake.loads) == 2


def test_a_connection_lost_while_loading_is_an_error_after_one_attempt(fake: FakeOllama, url: str) -> None:
    know(url, fake, "deadly")
    fake.loading = Answer([Do.DROP])
    answer = ask(url, CHAT_ROUTE, "deadly")
    assert answer.status_code == 502
    assert len(fake.loads) == 1
