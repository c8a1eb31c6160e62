from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.errors import BadRequestError, ModelNotFoundError
from engine.models.catalogue import Catalogue, built_in_file


def link(folder: Path, name: str) -> None:
    model = built_in_file()
    assert model is not None
    (folder / name).symlink_to(model)


async def test_a_file_in_the_folder_is_found_by_name(tmp_path: Path) -> None:
    link(tmp_path, "Foo-Bar.Q8_0.gguf")
    catalogue = Catalogue(tmp_path)
    assert (await catalogue.find("FOO-bar:q8_0")).path.name == "Foo-Bar.Q8_0.gguf"
    with pytest.raises(ModelNotFoundError, match="model 'foo-bar' not found"):
        await catalogue.find("foo-bar")


async def test_a_file_that_comes_later_is_found_too(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    link(tmp_path, "late.gguf")
    assert (await catalogue.find("late")).name.short == "late:latest"


async def test_a_name_that_can_not_be_one_is_told_from_an_unknown_one(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="invalid model name"):
        await Catalogue(None).find("a b")


def test_a_broken_file_is_left_out_and_reported_once(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with capture_logs() as logs:
        catalogue = Catalogue(tmp_path)
        models = catalogue.scan()
    assert [model.name.short for model in models] == ["smollm2:135m"]
    assert [entry["file"] for entry in logs if entry["event"] == "model_unreadable"] == ["broken.gguf"]


def test_of_two_files_with_one_name_the_first_is_served(tmp_path: Path) -> None:
    link(tmp_path, "Foo.gguf")
    link(tmp_path, "foo.gguf")
    models = Catalogue(tmp_path).scan()
    assert sorted(model.path.name for model in models) == ["Foo.gguf", "SmolLM2-135M-Instruct.Q4_1.gguf"]
