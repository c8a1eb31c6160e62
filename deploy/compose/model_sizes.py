"""How large a model is likely to be, going by its name."""

import re
from dataclasses import dataclass

# Billions of parameters behind the default tag of the most popular models.
LATEST = {
    "all-minilm": 0.02,
    "bge-m3": 0.6,
    "codellama": 7,
    "deepseek-r1": 8,
    "gemma2": 9,
    "gemma3": 4,
    "gemma3n": 8,
    "gpt-oss": 20,
    "llama3": 8,
    "llama3.1": 8,
    "llama3.2": 3,
    "llama3.3": 70,
    "llava": 7,
    "mistral": 7,
    "mistral-nemo": 12,
    "mistral-small": 24,
    "mixtral": 47,
    "mxbai-embed-large": 0.33,
    "nomic-embed-text": 0.14,
    "phi3": 4,
    "phi4": 14,
    "phi4-mini": 4,
    "qwen2.5": 7,
    "qwen2.5-coder": 7,
    "qwen3": 8,
    "qwq": 32,
    "smollm2": 1.7,
    "tinyllama": 1.1,
}
_PARAMETERS = re.compile(
    r"(?:^|[-_e])(?:(?P<experts>\d+)x)?(?P<number>\d+(?:\.\d+)?)(?P<unit>[bm])(?![a-z0-9])"
)
# Ollama's tags are quantized to four bits unless they say otherwise; with overhead, 0.6 bytes a parameter.
_BYTES_A_PARAMETER = {"q8": 1.1, "fp16": 2.0, "bf16": 2.0, "f16": 2.0, "fp32": 4.0}
_AT_FOUR_BITS = 0.6
GB = 10**9


@dataclass(frozen=True)
class Size:
    """Estimates, in bytes."""

    file: float

    @property
    def loaded(self) -> float:
        """In memory, with the context and buffers of one conversation."""
        return self.file + GB


def estimate(model: str) -> Size | None:
    """None if the name does not say."""
    name, _, tag = model.lower().rpartition("/")[2].partition(":")
    parameters = _billions(tag) or (LATEST.get(name) if tag in ("", "latest") else None) or _billions(name)
    if parameters is None:
        return None
    a_parameter = next((size for suffix, size in _BYTES_A_PARAMETER.items() if suffix in tag), _AT_FOUR_BITS)
    return Size(parameters * a_parameter * GB)


def _billions(text: str) -> float | None:
    match = _PARAMETERS.search(text)
    if match is None:
        return None
    number = float(match["number"]) * int(match["experts"] or 1)
    return number if match["unit"] == "b" else number / 1000
