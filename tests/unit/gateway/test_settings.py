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
        ("GATEWAY_MODELS", "qwen2.5:1.5b; llama3.2"),
        ("GATEWAY_MODELS", "https://hf.co/user/model"),
        ("GATEWAY_MODELS", "qwen2.5:"),
        ("GATEWAY_MODELS", "a/b/c/d"),
        ("GATEWAY_LIMIT_REQUESTS", "60"),
        ("GATEWAY_LIMIT_TOKENS", "20k/m,20k/m"),
        ("GATEWAY_LIMIT_CONCURRENT", "0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_a_bad_setting_stops_the_start_and_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettings, match=f"^{variable}: "):
        load_settings()


def test_settings_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_FIRST_BYTE_TIMEOUT", "1")
    monkeypatch.setenv("GATEWAY_EARLY_COMMIT", "2")
    with pytest.raises(BadSettings, match="GATEWAY_EARLY_COMMIT"):
        load_settings()


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (" ,\t, ", ()),
        ("qwen2.5:1.5b", ("qwen2.5:1.5b",)),
        ("b,a  c\n, b", ("b", "a", "c")),
        (
            "hf.co/Some-User/Model.gguf:Q4_K_M localhost:5000/x/y",
            ("hf.co/Some-User/Model.gguf:Q4_K_M", "localhost:5000/x/y"),
        ),
    ],
)
def test_models_are_separated_by_commas_or_blanks_and_keep_their_order(
    monkeypatch: pytest.MonkeyPatch, value: str, names: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GATEWAY_MODELS", value)
    assert load_settings().model_names == names
