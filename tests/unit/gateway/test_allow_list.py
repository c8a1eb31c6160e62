"""No spelling of a model's name gets around the list of those that a key may know of."""

import json

import pytest

from gateway.access.allow_list import AllowList
from gateway.errors import InvalidRequest, ModelNotFound
from tests.unit.gateway.bodies import read_fields

LLAMAS = AllowList(("llama3*", "smollm2", "user/*:small", "hf.co/org/*"))


def check_body(body: bytes) -> None:
    for name in read_fields(body).models():
        LLAMAS.check(name)


@pytest.mark.parametrize(
    "name",
    [
        "llama3",
        "LLaMA3.2:3B",
        "library/llama3:8b",
        "registry.ollama.ai/library/llama3",
        "Registry.Ollama.AI/Library/llama3:latest",
        "llama3:local",
        "smollm2",
        "smollm2:latest",
        "SMOLLM2:LATEST",
        "user/anything:small",
        "registry.ollama.ai/user/anything:small",
        "hf.co/org/Model-GGUF:Q4_K_M",
    ],
)
def test_every_spelling_of_an_allowed_model_is_allowed(name: str) -> None:
    assert LLAMAS.has(name)


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "SECRET:latest",
        "smollm2:135m",
        "llama3-by/secret",
        "llama3-by/secret:llama3",
        "llama3.example/library/secret",
        "other/llama3",
        "library/library/llama3",
        "registry.ollama.ai/other/llama3",
        "https://registry.ollama.ai/library/llama3",
        "user/anything",
        "user/anything:large",
        "secret:local",
        "user/anything:small:local",
        "llama3:8b:secret",
        "llama3/../secret",
        "llama3/",
        "/llama3",
        " llama3",
        "llama3 ",
        "llama3\n",
        "llama3\0",
        "llama3\u2024",
        "smo\u217c\u217cm2",  # small Roman numerals fifty
        "llama3,secret",
        "llama3*",
        "*",
        "",
    ],
)
def test_nothing_else_is(name: str) -> None:
    assert not LLAMAS.has(name)


def test_source_tags_do_not_stand_for_a_pattern() -> None:
    assert not AllowList(("*:local",)).has("secret:local")


def test_without_patterns_every_model_is_allowed() -> None:
    AllowList().check("whatever")


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"secret"}',
        '{"model":"llama3","model":"secret"}',
        '{"model":"secret","model":"llama3"}',
        '{"model":"llama3","MODEL":"secret"}',
        '{"MoDeL":"secret"}',
        '{"mod\\u0065l":"secret"}',
        '{"model":"","name":"secret"}',
        '{"model":"llama3","name":"secret"}',
        '{"model":null,"Name":"secret"}',
        '{"source":"secret","destination":"llama3"}',
        '{"\u017fource":"secret","destination":"llama3"}',
        '{"source":"llama3","destination":"secret"}',
        '{"model":"llama3","from":"secret"}',
    ],
)
def test_every_field_that_could_name_a_model_counts(body: str) -> None:
    with pytest.raises(ModelNotFound):
        check_body(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"secret"} and more',
        b'{"model":"llama3"}{"model":"secret"}',
        b'{"model":"secret"',
        b'{"model":"secret\xff"}',
        b'[{"model":"secret"}]',
        b'{"model":["secret"]}',
        b'{"model":{"name":"secret"}}',
        b'{"x":' + b"[" * 200_000,
        b"\x28\xb5\x2f\xfd\x04\x00",  # compressed, which Ollama might understand
    ],
)
def test_a_body_in_which_a_model_could_hide_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        check_body(body)


def test_names_within_what_is_said_to_the_model_do_not_matter() -> None:
    check_body(json.dumps({"model": "llama3", "messages": [{"name": "secret", "model": "x"}]}).encode())
    check_body(b" ")
