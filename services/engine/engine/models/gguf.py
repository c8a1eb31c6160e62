"""Reads the header of a GGUF file: its metadata and the list of tensors, without the weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package is not used: it
makes numpy arrays of the whole vocabulary, which takes seconds and 160 MB, and hangs on some broken files.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

Value = int | float | bool | str | None
"""A metadata value. Arrays, mostly the vocabulary, are None, as in Ollama's /api/show."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

# Missing numbers belong to formats that GGUF has dropped.
_TENSOR_TYPES = dict(enumerate(["F32", "F16", "Q4_0", "Q4_1"]))
_TENSOR_TYPES |= dict(enumerate(["Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"], 6))
_TENSOR_TYPES |= dict(enumerate(["Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S"], 15))
_TENSOR_TYPES |= dict(enumerate(["IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M", "BF16"], 22))
_TENSOR_TYPES |= {34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4"}

_FILE_TYPES = dict(enumerate(["F32", "F16", "Q4_0", "Q4_1"]))
_FILE_TYPES |= dict(enumerate(["Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S"], 7))
_FILE_TYPES |= dict(enumerate(["Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S"], 15))
_FILE_TYPES |= dict(enumerate(["IQ3_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S"], 22))
_FILE_TYPES |= dict(enumerate(["IQ2_M", "IQ4_XS", "IQ1_M", "BF16"], 29))
_FILE_TYPES |= {36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4"}

# A broken file can claim any 64-bit length; the limit keeps it from allocating all memory. The longest real
# strings are chat templates of tens of kilobytes.
_MAX_STRING = 16 * 2**20
_MAX_DIMENSIONS = 8


class GGUFError(ValueError):
    """The file is broken or not GGUF at all."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]
    length: int
    """Bytes before the weights, without padding."""

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", "unknown"))

    @property
    def parameter_count(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        number = self.metadata.get("general.file_type")
        return _FILE_TYPES.get(number, "unknown") if isinstance(number, int) else "unknown"

    def architecture_number(self, key: str, default: int = 0) -> int:
        """A number under the architecture's own prefix, e.g. `context_length` for `llama.context_length`."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else default


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size

    def skip(self, count: int) -> None:
        if self.file.tell() + count > self.size:
            raise GGUFError("the file is truncated within its header")
        self.file.seek(count, 1)

    def scalar(self, code: str) -> int | float | bool:
        data = self.file.read(struct.calcsize("<" + code))
        try:
            number: int | float | bool = struct.unpack("<" + code, data)[0]
        except struct.error:
            raise GGUFError("the file is truncated within its header") from None
        return number

    def count(self, code: str = "Q") -> int:
        return int(self.scalar(code))

    def string(self) -> str:
        length = self.count()
        if length > _MAX_STRING:
            raise GGUFError(f"a string of {length} bytes exceeds the limit of {_MAX_STRING}")
        data = self.file.read(length)
        if len(data) != length:
            raise GGUFError("the file is truncated within its header")
        return data.decode("utf-8", "replace")

    def value(self) -> Value:
        kind = self.count("I")
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            self.skip_array()
            return None
        if kind not in _SCALARS:
            raise GGUFError(f"unknown value type {kind}")
        return self.scalar(_SCALARS[kind])

    def skip_array(self) -> None:
        kind, length = self.count("I"), self.count()
        if kind in _SCALARS:
            self.skip(struct.calcsize("<" + _SCALARS[kind]) * length)
        elif kind == _STRING:
            for _ in range(length):
                self.skip(self.count())
        else:
            raise GGUFError(f"unknown array type {kind}")

    def tensor(self) -> Tensor:
        name = self.string()
        dimensions = self.count("I")
        if dimensions > _MAX_DIMENSIONS:
            raise GGUFError(f"a tensor has {dimensions} dimensions; at most {_MAX_DIMENSIONS} are supported")
        shape = tuple(self.count() for _ in range(dimensions))
        kind = self.count("I")
        self.skip(8)
        return Tensor(name, _TENSOR_TYPES.get(kind, str(kind)), shape)


def read_header(path: Path) -> Header:
    with path.open("rb") as file:
        reader = _Reader(file, path.stat().st_size)
        if file.read(4) != b"GGUF":
            raise GGUFError("not a GGUF file")
        version = reader.count("I")
        if version not in (2, 3):
            raise GGUFError(f"GGUF version {version} is not supported")
        tensors, entries = reader.count(), reader.count()
        metadata = {reader.string(): reader.value() for _ in range(entries)}
        return Header(metadata, tuple(reader.tensor() for _ in range(tensors)), file.tell())
