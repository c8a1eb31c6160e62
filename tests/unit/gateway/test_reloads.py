"""Requests that make a model server load a model anew are counted by the option that differs."""

from collections import Counter
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from gateway.backends.reloads import Reloads

OPTIONS = ("num_ctx", "num_gpu", "num_batch")


@pytest.fixture
def model() -> str:
    return f"m:{uuid4()}"  # the metric is the process's


def counted(model: str) -> Counter[str]:
    values = {
        option: REGISTRY.get_sample_value("gateway_reloads_total", {"model": model, "option": option})
        for option in OPTIONS
    }
    return Counter({option: int(value) for option, value in values.items() if value})


def sent(reloads: Reloads, model: str, is_loaded: bool = True, **options: int) -> None:
    reloads.sent(model, frozenset((name, str(value)) for name, value in options.items()), is_loaded)


def test_each_option_that_differs_from_the_last_request_is_counted(model: str) -> None:
    reloads = Reloads()
    sent(reloads, model, num_ctx=1, num_batch=1)
    assert not counted(model)
    sent(reloads, model, num_ctx=1, num_batch=1)
    assert not counted(model)
    sent(reloads, model, num_ctx=2, num_batch=1)
    assert counted(model) == {"num_ctx": 1}
    sent(reloads, model)
    assert counted(model) == {"num_ctx": 2, "num_batch": 1}


def test_a_model_that_is_not_in_memory_is_loaded_and_not_reloaded(model: str) -> None:
    reloads = Reloads()
    sent(reloads, model, num_ctx=1)
    sent(reloads, model, is_loaded=False, num_ctx=2)
    sent(reloads, model, num_ctx=2)
    assert not counted(model)


def test_models_and_servers_are_apart(model: str) -> None:
    reloads = Reloads()
    sent(reloads, model, num_ctx=1)
    sent(reloads, "other", num_ctx=2)
    sent(Reloads(), model, num_ctx=2)
    assert not counted(model)


def test_ollama_keeps_the_layers_on_the_gpu_if_a_request_does_not_name_them(model: str) -> None:
    reloads = Reloads()
    sent(reloads, model)
    sent(reloads, model, num_gpu=20)
    sent(reloads, model)
    sent(reloads, model, num_gpu=20)
    assert counted(model) == {"num_gpu": 1}
