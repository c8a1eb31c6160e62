from typing import Any

import pytest

from engine.api.ollama.options import OptionError, checked_options, context_size, sampling


def test_without_options_llama_cpp_gets_ollamas_defaults() -> None:
    assert sampling({}) == {
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_last_n": 64,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": -1,
        "n_keep": 4,
        "n_predict": -1,
        "stop": [],
    }


@pytest.mark.parametrize(
    ("option", "value", "name", "sent"),
    [
        ("num_predict", 5, "n_predict", 5),
        ("num_predict", 2.7, "n_predict", 2),
        ("num_predict", 0, "n_predict", -1),
        ("num_predict", -5, "n_predict", -1),
        ("num_keep", 8, "n_keep", 8),
        ("temperature", 0, "temperature", 0.0),
        ("seed", 42, "seed", 42),
        ("stop", ["a"], "stop", ["a"]),
    ],
)
def test_an_option_reaches_llama_cpp_under_its_name_there(
    option: str, value: Any, name: str, sent: Any
) -> None:
    assert sampling(checked_options({option: value}))[name] == sent


def test_nulls_and_unknown_options_are_ignored() -> None:
    assert checked_options({"num_predict": None, "mirostat": 2, "num_gpu": 1, "use_mmap": True}) == {
        "num_gpu": 1
    }


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("num_predict", "x", 'option "num_predict" must be of type integer'),
        ("num_ctx", True, 'option "num_ctx" must be of type integer'),
        ("temperature", "hot", 'option "temperature" must be of type float32'),
        ("use_mmap", 1, 'option "use_mmap" must be of type boolean'),
        ("stop", "x", 'option "stop" must be of type array'),
        ("stop", [1], 'option "stop" must be of an array of strings'),
    ],
)
def test_a_wrong_type_is_refused_in_ollamas_words(option: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        checked_options({option: value})
    assert (caught.value.message, caught.value.status) == (message, 500)


def test_the_context_is_the_engines_unless_asked_for_and_never_tiny() -> None:
    assert context_size({}) is None
    assert context_size({"num_ctx": 512}) == 512
    assert context_size({"num_ctx": -1}) == 4
