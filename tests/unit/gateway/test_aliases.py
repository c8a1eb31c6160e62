"""Further names of models: how they are written, and which model is behind one."""

import pytest

from gateway.access.allow_list import EVERY_MODEL, AllowList
from gateway.aliases import Alias, parse_aliases
from gateway.ask.naming import Names, with_targets
from gateway.ask.route import Route
from gateway.names import full_name
from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from gateway.settings import BadSettings, load_settings
from tests.unit.gateway.bodies import read_fields

ROUTES = {route.path: route for route in (CHAT_ROUTE, *PASSED_ON)}
ALIASES = parse_aliases("gpt-4o-mini=qwen2.5:1.5b, fast = llama3.2:1b | qwen2.5:1.5b")


class Installed:
    """The model servers' models: those of `down` are only on servers that are down."""

    def __init__(self, *up: str, down: tuple[str, ...] = ()) -> None:
        self.up = set(map(full_name, up))
        self.all = self.up | set(map(full_name, down))

    def has(self, model: str) -> bool:
        return full_name(model) in self.all

    def available(self, model: str) -> bool:
        return full_name(model) in self.up


def target(said: str, models: Installed, allowed: AllowList = EVERY_MODEL) -> str | None:
    return Names(ALIASES, models).target(said, allowed)


def test_aliases_are_written_with_commas_between_them_and_bars_between_models() -> None:
    assert parse_aliases("gpt-4o-mini=qwen2.5:1.5b, fast = llama3.2:1b | qwen2.5:1.5b,") == {
        "gpt-4o-mini:latest": Alias("gpt-4o-mini", ("qwen2.5:1.5b",)),
        "fast:latest": Alias("fast", ("llama3.2:1b", "qwen2.5:1.5b")),
    }
    assert parse_aliases("") == parse_aliases(" , ") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fast", "'fast' has no model; use alias=model"),
        ("fast=", "'fast=' has no model"),
        ("=m", "'' is not a valid model name"),
        ("fast=a||b", "'' is not a valid model name"),
        ("fast=a b", "'a b' is not a valid model name"),
        ("fast=a=b", "'a=b' is not a valid model name"),
        ("http://x=m", "'http://x' is not a valid model name"),
        ("fast=a,FAST:latest=b", "FAST:latest occurs twice"),
        ("fast=a,best=Fast", "best=Fast: Fast is an alias too; name a model"),
        ("fast=fast|a", "fast=fast: fast is an alias too"),
    ],
)
def test_a_mistake_in_the_aliases_stops_the_start_and_is_named(
    monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.setenv("GATEWAY_ALIASES", text)
    with pytest.raises(BadSettings) as raised:
        load_settings()
    assert str(raised.value).startswith("GATEWAY_ALIASES: ")
    assert problem in str(raised.value)


@pytest.mark.parametrize("aliases", ["fast=gpt-oss:20b-cloud", "fast=a|gpt-oss:cloud", "own:cloud=a"])
def test_an_alias_of_a_cloud_model_needs_cloud_models(monkeypatch: pytest.MonkeyPatch, aliases: str) -> None:
    monkeypatch.setenv("GATEWAY_ALIASES", aliases)
    with pytest.raises(BadSettings, match="GATEWAY_ALIASES: cloud models need GATEWAY_CLOUD_MODELS=on"):
        load_settings()
    monkeypatch.setenv("GATEWAY_CLOUD_MODELS", "on")
    load_settings()


def test_the_default_model_is_no_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ALIASES", "fast=a")
    monkeypatch.setenv("GATEWAY_DEFAULT_MODEL", "Fast:latest")
    with pytest.raises(BadSettings, match="GATEWAY_DEFAULT_MODEL: Fast:latest is an alias; name a model"):
        load_settings()


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        (Installed("llama3.2:1b", "qwen2.5:1.5b"), "llama3.2:1b"),
        (Installed("qwen2.5:1.5b"), "qwen2.5:1.5b"),
        (Installed("qwen2.5:1.5b", down=("llama3.2:1b",)), "qwen2.5:1.5b"),
        (Installed(down=("llama3.2:1b", "qwen2.5:1.5b")), "llama3.2:1b"),
        (Installed(down=("qwen2.5:1.5b",)), "qwen2.5:1.5b"),
        (Installed(), "llama3.2:1b"),
    ],
)
def test_the_first_model_that_is_available_answers(models: Installed, chosen: str) -> None:
    for said in ("fast", "FAST", "fast:latest", "library/fast", " fast "):
        assert target(said, models) == chosen


def test_a_name_that_is_no_alias_stays_as_it_is() -> None:
    for said in ("faster", "fast:1b", "other/fast", "llama3.2:1b", ""):
        assert target(said, Installed(said)) is None


def test_an_alias_wins_over_a_model_of_the_same_name() -> None:
    assert target("gpt-4o-mini", Installed("gpt-4o-mini", "qwen2.5:1.5b")) == "qwen2.5:1.5b"


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (("fast",), "llama3.2:1b"),
        (("qwen2.5:*",), "qwen2.5:1.5b"),
        (("llama3.2:1b",), "llama3.2:1b"),
        (("other",), None),
    ],
)
def test_a_key_gets_all_models_of_an_allowed_alias_else_only_those_that_it_may_use(
    patterns: tuple[str, ...], chosen: str | None
) -> None:
    both = Installed("llama3.2:1b", "qwen2.5:1.5b")
    assert target("fast", both, AllowList(patterns)) == chosen
    names = dict(Names(ALIASES, both).listed(AllowList(patterns)))
    assert names.get("fast") == chosen


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/chat", b'{"model":"fast"}', b'{"model":"m:1"}'),
        ("/v1/messages", b'{ "model" : "fast" ,"x": 1.0}\n', b'{ "model" : "m:1" ,"x": 1.0}\n'),
        ("/api/chat", b'{"Model":"fast","model":"\\u0066ast"}', b'{"Model":"m:1","model":"m:1"}'),
        ("/api/chat", b'{"model":"own","MODEL":"fast"}', b'{"model":"own","MODEL":"m:1"}'),
        ("/api/chat", b'{"name":"fast","messages":[{"model":"fast"}]}', None),
        ("/api/chat", b'{"model":"own","x":"fast"}', None),
        ("/api/show", b'{"name":"fast","verbose":"fast"}', b'{"name":"m:1","verbose":"fast"}'),
        ("/v1/responses", b'{"model":null,"x":"\xff"}', None),
    ],
)
def test_only_the_fields_that_name_a_model_are_changed(
    path: str, body: bytes, expected: bytes | None
) -> None:
    changed = with_targets(body, read_fields(body), ROUTES[path], {"fast": "m:1"})
    assert changed == (expected or body)


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.path)
def test_whoever_manages_models_names_the_models_themselves(route: Route) -> None:
    found = Names(ALIASES, Installed()).targets(read_fields(b'{"model":"fast"}'), None, route, EVERY_MODEL)
    assert found == ({"fast": "llama3.2:1b"} if route.kind in ("inference", "read") else {})
