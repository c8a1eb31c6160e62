"""What may leave, and from where models may come, whatever the spelling."""

import json
from typing import Any

import pytest

from gateway.ask.fields import Fields
from gateway.errors import Forbidden, GatewayError, InvalidRequest
from gateway.names import is_in_cloud, requested_name
from gateway.policy.egress import Egress
from gateway.settings import BadSettings, Settings, load_settings
from tests.unit.gateway.bodies import read_fields, taken


def said(**fields: Any) -> Fields:
    return read_fields(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "name",
    [
        "gpt-oss:cloud",
        "gpt-oss:20b-cloud",
        "gpt-oss:20b:cloud",
        "GPT-OSS:20B-Cloud",
        "gpt-oss:CLOUD",
        " gpt-oss: cloud ",
        "gpt-oss:cloud\u00a0",
        "user/model:cloud",
        "registry.ollama.ai/library/gpt-oss:20b-cloud",
        "https://registry.ollama.ai/library/gpt-oss:cloud",
        "localhost:11434/library/gpt-oss:cloud",
        "gpt-oss:-cloud",
    ],
)
def test_a_name_with_such_a_tag_means_the_cloud(name: str) -> None:
    assert is_in_cloud(name)


@pytest.mark.parametrize(
    "name", ["cloud", "my-cloud", "cloud:8b", "x:8b-cloudy", "x:cloud:local", "host:1-cloud/a/b", "", ":"]
)
def test_no_other_name_does(name: str) -> None:
    assert not is_in_cloud(name)


@pytest.mark.parametrize("name", ["m", " M ", "m:latest", "library/m:LOCAL", "registry.ollama.ai/library/m"])
def test_what_is_meant_is_the_same_for_every_spelling(name: str) -> None:
    assert requested_name(name) == "m:latest"


@pytest.mark.parametrize(
    ("body", "model", "every"),
    [
        ('{"model":"a","model":"b"}', "b", ["a", "b"]),
        ('{"model":"b","MODEL":"a"}', "a", ["b", "a"]),
        ('{"model":"a","model":null}', "a", ["a"]),
        ('{"mod\\u0065l":"b","model":"a"}', "a", ["b", "a"]),
        ('{"model":"a","messages":[{"model":"b"}],"options":{"model":"b"}}', "a", ["a"]),
    ],
)
def test_of_fields_of_one_name_the_last_counts_and_every_one_is_checked(
    body: str, model: str, every: list[str]
) -> None:
    fields = read_fields(body.encode())
    assert fields.get("model") == model
    assert list(fields.models()) == every


@pytest.mark.parametrize(
    "extra",
    [
        '"model":"b"',
        '"MODEL":"b"',
        '"\\u006dodel":"b"',
        '"m\\u004Fdel":"b"',
        '"m\\u006fdel":"b"',
        '"mo\\u0064el":"b"',
        '"mod\\u0065l":"b"',
        '"\\u004d\\u004f\\u0044\\u0045\\u004c":"b"',
        '"options":{"model":"c"},"model":"b"',
    ],
)
def test_no_spelling_of_a_model_is_overlooked(extra: str) -> None:
    rest = '"messages":[{"role":"user","content":"x"}]'
    for text in (f'{{"model":"a",{extra},{rest}}}', f'{{{extra},"model":"a",{rest}}}'):
        assert set(read_fields(text.encode()).models({"model"})) == {"a", "b"}


@pytest.mark.parametrize(
    "name",
    [
        "llama3",
        "registry.ollama.ai/library/llama3:8b",
        "user/model",
        "REGISTRY.ollama.ai/user/model",
        "hf.co/org/model:Q4_K_M",
        "HF.co/org/model",
    ],
)
def test_models_come_from_registries_that_are_named(name: str) -> None:
    egress = Egress(Settings(pull_registries="registry.ollama.ai, hf.co"))
    egress.check_pull(said(model=name))


@pytest.mark.parametrize(
    "name",
    [
        "evil.example/library/llama3",
        "evil.example/library/llama3:local",
        "hf.co:443/org/model",
        "registry.ollama.ai:8080/library/llama3",
        "registry.ollama.ai.evil.example/library/llama3",
        "http://registry.ollama.ai/library/llama3",
        "https://evil.example/library/llama3",
        "evil.example/registry.ollama.ai/library/llama3",
        "evil.example\\library\\llama3",
        " hf.co/org/model",
        "llama3\n",
        "gpt-oss:20b-cloud",
    ],
)
@pytest.mark.parametrize("field", ["model", "name", "Model", "NAME"])
def test_and_from_no_others(name: str, field: str) -> None:
    with pytest.raises(GatewayError) as refused:
        Egress(Settings(pull_registries="registry.ollama.ai hf.co")).check_pull(said(**{field: name}))
    assert refused.value.status in (400, 403)


def test_a_harmless_name_hides_no_other_one() -> None:
    for text in ('{"model":"a","name":"x.example/a/b"}', '{"name":"x.example/a/b","name":"a"}'):
        with pytest.raises(Forbidden, match=r"^x\.example is not .* GATEWAY_PULL_REGISTRIES can"):
            Egress(Settings()).check_pull(read_fields(text.encode()))


def test_only_models_of_the_patterns_are_pulled() -> None:
    egress = Egress(Settings(pull_models="llama3*, hf.co/org/*", pull_registries="registry.ollama.ai,hf.co"))
    for name in ("llama3.2:3b", "library/Llama3", "hf.co/org/any:Q8_0"):
        egress.check_pull(said(model=name))
    for name in ("qwen3", "user/llama3", "hf.co/other/llama3"):
        with pytest.raises(Forbidden, match="GATEWAY_PULL_MODELS"):
            egress.check_pull(said(model=name))


def test_nothing_is_pulled_or_pushed_without_https() -> None:
    for fields in (said(model="a", insecure=True), read_fields(b'{"model":"a","Insecure":true}')):
        for check in (
            Egress(Settings()).check_pull,
            Egress(Settings(push_registries="registry.ollama.ai")).check_push,
        ):
            with pytest.raises(Forbidden, match="GATEWAY_PULL_INSECURE=on"):
                check(fields)
    Egress(Settings(pull_insecure="on")).check_pull(said(model="a", insecure=True))
    Egress(Settings()).check_pull(said(model="a", insecure=False))


def test_nothing_is_pushed_but_to_registries_that_are_named() -> None:
    with pytest.raises(Forbidden, match=r"^registry\.ollama\.ai is not .* GATEWAY_PUSH_REGISTRIES can"):
        Egress(Settings()).check_push(said(model="me/model"))
    mine = Egress(Settings(push_registries="mine.example:5000"))
    mine.check_push(said(name="mine.example:5000/me/model"))
    with pytest.raises(Forbidden):
        mine.check_push(said(name="me/model"))


@pytest.mark.parametrize("field", ["modelfile", "path", "Path"])
def test_files_of_the_model_server_are_not_read(field: str) -> None:
    with pytest.raises(InvalidRequest):
        Egress(Settings(cloud_models="on")).check_create(said(model="a", **{field: "FROM /etc/passwd"}))


def test_a_model_is_not_made_from_one_on_another_host() -> None:
    fields = said(model="a", **{"from": "b", "Remote_Host": "http://x.example"})
    with pytest.raises(Forbidden, match="GATEWAY_CLOUD_MODELS=on"):
        Egress(Settings()).check_create(fields)
    Egress(Settings(cloud_models="on")).check_create(fields)


@pytest.mark.parametrize(
    "body",
    [
        '{"tools":[{"type":"function","name":"f"},{"type":"web_search_20250305","name":"web_search"}]}',
        '{"tools":[{"type":" web_search"}]}',
        '{"Tools":[{"TYPE":"web_search","type":"function"}],"tools":[]}',
        '{"tool\u017f":[{"type":"web_search"}]}',
    ],
)
def test_the_web_is_not_searched(body: str) -> None:
    with pytest.raises(Forbidden, match="GATEWAY_WEB_SEARCH=on"):
        taken(Egress(Settings()).check_tools(read_fields(body.encode())))
    taken(Egress(Settings(web_search="on")).check_tools(read_fields(body.encode())))


def test_tools_that_clients_run_themselves_are_theirs() -> None:
    for tools in (None, [], "x", [None, 1, {"type": 1}, {"type": "function", "name": "web_search"}]):
        taken(Egress(Settings()).check_tools(said(tools=tools)))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_MODELS", "llama3,gpt-oss:20b-cloud"),
        ("GATEWAY_DEFAULT_MODEL", "gpt-oss:cloud"),
        ("GATEWAY_PULL_REGISTRIES", "https://hf.co"),
        ("GATEWAY_PUSH_REGISTRIES", "a/b"),
        ("GATEWAY_PULL_MODELS", "[a-z]"),
    ],
)
def test_settings_that_cannot_be_meant_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettings, match=variable):
        load_settings()
    if "cloud" in value:
        monkeypatch.setenv("GATEWAY_CLOUD_MODELS", "on")
        load_settings()


def test_a_body_cannot_keep_everybody_waiting_with_how_often_it_says_the_model() -> None:
    once = b'{"model":"a"'
    assert list(read_fields(once + b"}").models()) == ["a"]
    with pytest.raises(InvalidRequest):
        list(read_fields(once + b',"model":"a"' * 1000 + b"}").models())
