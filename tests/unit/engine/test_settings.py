from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.durations import FOREVER
from engine.settings import Settings, SettingsError, load_settings


def test_the_defaults_are_valid() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.keep_alive) == ("127.0.0.1", 11435, 300)
    assert settings.threads >= 1


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("90", 90), ("1h", 3600), ("-1", FOREVER)])
def test_keep_alive_is_read_as_ollama_reads_it(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    monkeypatch.setenv("ENGINE_KEEP_ALIVE", text)
    assert load_settings().keep_alive == seconds


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ENGINE_PORT", "0"),
        ("ENGINE_SLOTS", "many"),
        ("ENGINE_NUM_CTX", "-1"),
        ("ENGINE_KEEP_ALIVE", "soon"),
        ("ENGINE_LOG_FORMAT", "xml"),
        ("ENGINE_MODELS_DIR", "/does/not/exist"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{variable}={value}: ")
    assert "\n" not in text


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_MODELS_DIR", "")
    assert load_settings().models_dir is None


def test_settings_can_not_be_changed(tmp_path: Path) -> None:
    settings = Settings(models_dir=tmp_path)
    with pytest.raises(ValidationError):
        settings.slots = 2  # type: ignore[misc]


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())
