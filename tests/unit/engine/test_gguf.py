import struct
from pathlib import Path

import pytest

from engine.models.catalogue import Catalogue, built_in_file
from engine.models.gguf import GGUFError, read_header
from engine.models.model import human_number

STRING, ARRAY, UINT32, FLOAT32, BOOL = 8, 9, 4, 6, 7


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def gguf(entries: list[bytes], tensors: list[bytes], version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries + tensors)


ENTRIES = [
    entry("general.architecture", STRING, string("llama")),
    entry("general.file_type", UINT32, struct.pack("<I", 7)),
    entry("llama.context_length", UINT32, struct.pack("<I", 2048)),
    entry("llama.epsilon", FLOAT32, struct.pack("<f", 0.5)),
    entry("flag", BOOL, b"\x01"),
    entry("words", ARRAY, struct.pack("<IQ", STRING, 2) + string("a") + string("bc")),
    entry("numbers", ARRAY, struct.pack("<IQ", UINT32, 2) + struct.pack("<II", 1, 2)),
]
TENSORS = [string("weight") + struct.pack("<IQQIQ", 2, 1000, 2000, 8, 0)]
WHOLE = gguf(ENTRIES, TENSORS)


def test_a_header_has_the_metadata_and_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(WHOLE + b"weights")
    header = read_header(path)
    assert header.architecture == "llama"
    assert header.file_type == "Q8_0"
    assert header.architecture_number("context_length") == 2048
    assert header.metadata["flag"] is True
    assert header.metadata["llama.epsilon"] == 0.5
    assert header.metadata["words"] is None
    assert header.metadata["numbers"] is None
    assert [(t.name, t.type, t.shape) for t in header.tensors] == [("weight", "Q8_0", (1000, 2000))]
    assert header.parameter_count == 2_000_000
    assert header.length == len(WHOLE)


def test_a_header_cut_at_any_byte_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(GGUFError):
            read_header(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a model at all",
        gguf([], [], version=1),
        gguf([entry("key", 99, b"")], []),
        gguf([entry("key", ARRAY, struct.pack("<IQ", 99, 1))], []),
        gguf([string("key") + struct.pack("<IQ", STRING, 2**63)], []),
        gguf([entry("key", ARRAY, struct.pack("<IQ", STRING, 2**63))], []),
        gguf([], [string("weight") + struct.pack("<I", 2**31)]),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(GGUFError):
        read_header(path)


def test_the_built_in_model_describes_itself_as_ollama_does() -> None:
    path = built_in_file()
    assert path is not None
    (model,) = Catalogue(None).scan()
    assert model.path == path
    assert model.context_length == 8192
    assert model.parameter_size == "134.52M"
    assert model.header.file_type == "Q4_1"
    assert model.capabilities == ["completion"]
    # What a real Ollama says of the same file with this context in one slot, less its own rounding.
    assert abs(model.memory(4096) - 190_948_608) < 10_000


@pytest.mark.parametrize(
    ("number", "text"), [(7_241_732_096, "7.2B"), (134_515_008, "134.52M"), (1_500, "2K"), (12, "12")]
)
def test_counts_are_written_for_people(number: int, text: str) -> None:
    assert human_number(number) == text
