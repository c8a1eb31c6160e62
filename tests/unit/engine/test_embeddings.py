import base64
import struct
from typing import Any

import pytest

from engine.api.ollama.embeddings import EmbedRequest, LegacyEmbedRequest, normalised
from engine.api.ollama.requests import ChatRequest, GenerateRequest
from engine.api.openai.completion_requests import ChatCompletionRequest
from engine.api.openai.embeddings import OpenAIEmbedRequest
from engine.errors import EngineError
from engine.models.catalogue import Catalogue
from engine.models.gguf import Header
from engine.models.model import POOLING_LAST, Model

VECTORS = [[3.0, 4.0, 12.0]]
Kind = type[EmbedRequest]


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        (EmbedRequest, [], 400, "json: cannot unmarshal array into Go value of type api.EmbedRequest"),
        (EmbedRequest, {}, 404, "model '' not found"),
        (EmbedRequest, {"model": "m", "input": 5}, 400, "invalid input type"),
        (EmbedRequest, {"model": "m", "input": ["a", 5]}, 400, "invalid input type"),
        (
            EmbedRequest,
            {"model": "m", "dimensions": 1.5},
            400,
            "json: cannot unmarshal number 1.5 into Go struct field EmbedRequest.dimensions of type int",
        ),
        (
            EmbedRequest,
            {"model": "m", "truncate": 1},
            400,
            "json: cannot unmarshal number into Go struct field EmbedRequest.truncate of type bool",
        ),
        (EmbedRequest, {"model": "m", "keep_alive": "s"}, 400, 'time: invalid duration "s"'),
        (LegacyEmbedRequest, {"prompt": "x"}, 400, "model is required"),
        (
            LegacyEmbedRequest,
            {"model": "m", "prompt": ["a"]},
            400,
            "json: cannot unmarshal array into Go struct field EmbeddingRequest.prompt of type string",
        ),
        (OpenAIEmbedRequest, {"input": "x"}, 404, "model '' not found"),
        (OpenAIEmbedRequest, {"model": "m"}, 400, "invalid input"),
        (OpenAIEmbedRequest, {"model": "m", "input": []}, 400, "invalid input"),
        (OpenAIEmbedRequest, {"model": "m", "input": [[5, 6]]}, 400, "invalid input type"),
        (
            OpenAIEmbedRequest,
            {"model": "m", "encoding_format": "other"},
            400,
            "Invalid value for 'encoding_format' = other. Supported values: ['float', 'base64'].",
        ),
    ],
)
def test_a_malformed_request_is_refused_in_ollamas_words(
    kind: Kind, body: Any, status: int, message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        kind(body)
    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize(
    ("kind", "fields", "texts"),
    [
        (EmbedRequest, {"input": "a"}, ["a"]),
        (EmbedRequest, {"input": ["a", "b"]}, ["a", "b"]),
        (EmbedRequest, {"input": []}, []),
        (EmbedRequest, {"input": ""}, []),
        (EmbedRequest, {"input": [""]}, [""]),
        (EmbedRequest, {"input": None}, []),
        (LegacyEmbedRequest, {"prompt": "a"}, ["a"]),
        (LegacyEmbedRequest, {"prompt": ""}, []),
        (OpenAIEmbedRequest, {"input": ""}, [""]),
        (OpenAIEmbedRequest, {"input": ["a"]}, ["a"]),
    ],
)
def test_the_texts_of_a_request(kind: Kind, fields: dict[str, Any], texts: list[str]) -> None:
    assert kind({"model": "m", **fields}).texts == texts


def test_only_the_newer_apis_truncate_and_the_older_one_calls_it_its_own_fault() -> None:
    assert EmbedRequest({"model": "m"}).truncate
    assert EmbedRequest({"model": "m"}).overflow().status == 400
    assert not LegacyEmbedRequest({"model": "m", "truncate": True}).truncate
    assert LegacyEmbedRequest({"model": "m"}).overflow().status == 500


def test_vectors_have_length_one_also_after_losing_dimensions() -> None:
    whole = EmbedRequest({"model": "m"}).answer(VECTORS, 7)
    assert whole["embeddings"] == [[0.230769231, 0.307692308, 0.923076923]]
    assert list(whole) == ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]
    for dimensions, vector in ((2, [0.6, 0.8]), (-1, whole["embeddings"][0]), (99, whole["embeddings"][0])):
        request = EmbedRequest({"model": "m", "dimensions": dimensions})
        assert request.answer(VECTORS, 7)["embeddings"] == [vector]
    assert normalised([0.0, 0.0]) == [0.0, 0.0]


def test_without_a_text_there_is_nothing_to_count() -> None:
    assert EmbedRequest({"model": "m"}).answer([], 0) == {"model": "m", "embeddings": []}
    assert LegacyEmbedRequest({"model": "m"}).answer([], 0) == {"embedding": []}


def test_the_older_api_gives_the_vector_as_it_is() -> None:
    assert LegacyEmbedRequest({"model": "m"}).answer(VECTORS, 7) == {"embedding": VECTORS[0]}


def test_openais_vectors_are_numbers_or_base64() -> None:
    def answer(**fields: Any) -> Any:
        request = OpenAIEmbedRequest({"model": "m", "input": "x", "dimensions": 2, **fields})
        return request.answer(VECTORS, 7)

    assert answer() == {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.6, 0.8], "index": 0}],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    packed = base64.b64encode(struct.pack("<2f", 0.6, 0.8)).decode()
    assert answer(encoding_format="BASE64")["data"][0]["embedding"] == packed


def model(**metadata: Any) -> Model:
    """The packaged model with other metadata."""
    packaged = Catalogue(None).scan()[0]
    header = Header(packaged.header.metadata | metadata, packaged.header.tensors, packaged.header.length)
    names = ("name", "path", "size", "modified_ns", "digest")
    return Model(header=header, **{name: getattr(packaged, name) for name in names})


def test_a_model_for_embeddings_is_told_by_its_pooling_and_refuses_to_chat() -> None:
    embedder = model(**{"llama.pooling_type": 1})
    assert embedder.capabilities == ["embedding"]
    for request, verb in (
        (ChatRequest({"model": "m"}), "chat"),
        (GenerateRequest({"model": "m"}), "generate"),
        (ChatCompletionRequest({"model": "m", "messages": [{"content": "x"}]}), "chat"),
    ):
        with pytest.raises(EngineError, match=f'"m" does not support {verb}') as caught:
            request.check(embedder)
        assert caught.value.status == 400


def test_only_a_vector_of_the_last_token_can_be_made_in_steps() -> None:
    assert (model().pooling, model().batch(16, 4096)) == (POOLING_LAST, 16)
    mean = model(**{"llama.pooling_type": 1})
    assert (mean.pooling, mean.batch(16, 512)) == (1, 512)
