"""A model: its file and what the file's header says about it."""

from dataclasses import dataclass
from pathlib import Path

from . import gguf
from .names import Name

# llama.cpp's LLAMA_POOLING_TYPE_LAST: a text's embedding is that of its last token.
POOLING_LAST = 3


@dataclass(frozen=True)
class Model:
    name: Name
    path: Path
    size: int
    modified_ns: int
    header: gguf.Header
    digest: str

    @property
    def context_length(self) -> int:
        return self.header.architecture_number("context_length", 2**31 - 1)

    @property
    def template(self) -> str:
        return str(self.header.metadata.get("tokenizer.chat_template", ""))

    @property
    def parameter_size(self) -> str:
        return human_number(self.header.parameter_count)

    @property
    def capabilities(self) -> list[str]:
        """What the model can do, in Ollama's terms, judged by its pooling type and its chat template."""
        # Ollama recognises embedding models by the same key.
        if self.header.architecture_number("pooling_type", -1) >= 0:
            return ["embedding"]
        tools = ["tools"] if "tools" in self.template else []
        thinking = ["thinking"] if "enable_thinking" in self.template or "<think>" in self.template else []
        return ["completion", *tools, *thinking]

    @property
    def pooling(self) -> int:
        """llama.cpp's pooling type; Ollama's default where the file has none."""
        return self.header.architecture_number("pooling_type") or POOLING_LAST

    def batch(self, batch: int, num_ctx: int) -> int:
        """The batch size to load the model with: only last-token pooling can split a text into batches."""
        return batch if self.pooling == POOLING_LAST else max(batch, num_ctx)

    def memory(self, tokens: int) -> int:
        """Bytes of the weights and of a 16-bit key-value cache for this many tokens."""
        number = self.header.architecture_number
        heads = number("attention.head_count", 1)
        kv_heads = number("attention.head_count_kv", heads)
        width = number("embedding_length") // heads
        keys = number("attention.key_length", width)
        values = number("attention.value_length", width)
        cache = 2 * tokens * number("block_count") * kv_heads * (keys + values)
        return self.size - self.header.length + cache


def human_number(number: int) -> str:
    """As Ollama writes parameter counts: `7.2B`, `134.52M`."""
    for unit, digits, letter in ((10**9, 1, "B"), (10**6, 2, "M"), (10**3, 0, "K")):
        if number >= unit:
            return f"{number / unit:.{digits}f}{letter}"
    return str(number)
