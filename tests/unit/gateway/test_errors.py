"""What errors tell, and what they don't."""

import inspect
import json
import re
import time
from pathlib import Path

import pytest

from gateway import errors
from gateway.errors import GatewayError, UpstreamFailed
from gateway.redaction import redact

# What Ollama 0.24 says, with what is behind each.
TELLING = {
    'Post "http://127.0.0.1:38389/completion": EOF': 'Post "…": EOF',
    "open /root/.ollama/models/manifests/registry.ollama.ai/library/x/latest: no such file or directory": (
        "open …: no such file or directory"
    ),
    "unable to load model: /models/blobs/sha256-0a1b": "unable to load model: …",
    "dial tcp: lookup registry.ollama.ai on 127.0.0.11:53: server misbehaving": (
        "dial tcp: lookup registry.ollama.ai on …: server misbehaving"
    ),
    "dial tcp 10.1.2.3:443: connect: connection refused": "dial tcp …: connect: connection refused",
    'Get "http://model-server:11434/api/tags": EOF': 'Get "…": EOF',
    "connect to [::1]:11434 or localhost:11434": "connect to … or …",
    "connect to [fe80::1%eth0]:80 or [fd00::1]:80": "connect to … or …",
    r"open C:\\Users\\me\\.ollama\\models: denied": "open …: denied",
}
HARMLESS = (
    "model 'hf.co/user/model:latest' not found",
    '"smollm2:135m" does not support chat; try /api/generate or /v1/embeddings',
    "pull model manifest: Get https://registry.ollama.ai/v2/library/x/manifests/latest: 404",
    "registry.ollama.ai/library/tmp/var: not found",
    "input of 10.5 tokens and/or 4096 is too long: 1/2",
    "model requires more system memory (10.4 GiB) than is available (1.27.3 GiB)",
    "the model's name is localhost",
)


@pytest.mark.parametrize("told", TELLING)
def test_addresses_and_files_are_taken_out_of_what_upstream_tells(told: str) -> None:
    assert redact(told) == TELLING[told]
    assert UpstreamFailed(told).message == TELLING[told]


@pytest.mark.parametrize("told", HARMLESS)
def test_everything_else_is_left_as_it_is(told: str) -> None:
    assert redact(told) == told


def test_a_long_text_of_a_clients_making_is_read_in_no_time() -> None:
    began = time.process_time()
    for beginning in ("[fe80", "[fd00", "http://", "10.", "/app/", "localhost:", "[::1"):
        redact(beginning * 50_000)
    assert time.process_time() - began < 5  # a second, where each beginning is not followed to the end


def test_no_error_of_the_gateways_own_names_a_place_or_a_version() -> None:
    leaves = [
        leaf for _, leaf in inspect.getmembers(errors, inspect.isclass) if issubclass(leaf, GatewayError)
    ]
    root = Path(errors.__file__).parent
    texts = []
    for source in root.rglob("*.py"):
        for leaf in leaves:
            texts += re.findall(rf"\b{leaf.__name__}\(\s*(f?\"[^\"]*\")", source.read_text())
    assert len(texts) > 20
    for text in texts:
        assert redact(json.dumps(text)) == json.dumps(text)
        assert not re.search(
            r"\d+\.\d+|://|settings\.(?!request_timeout|max)|ollama_url|__version__|\bhost\b|\bport\b", text
        ), text
