import pytest

from gateway.settings import BadSettings, load_settings


def test_the_defaults_need_no_environment() -> None:
    settings = load_settings()
    assert settings.host == "127.0.0.1"
    assert settings.max_body_bytes == 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_PORT", "http"),
        ("GATEWAY_PORT", "0"),
        ("GATEWAY_WORKERS", "0"),
        ("GATEWAY_OLLAMA_URL", "localhost"),
        ("GATEWAY_HEARTBEAT", "-1"),
        ("GATEWAY_LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_setting_stops_the_start_and_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettings, match=variable):
        load_settings()


def test_settings_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_FIRST_BYTE_TIMEOUT", "1")
    monkeypatch.setenv("GATEWAY_EARLY_COMMIT", "2")
    with pytest.raises(BadSettings, match="GATEWAY_EARLY_COMMIT"):
        load_settings()
