from pathlib import Path

import pytest

from deploy import ROOT
from deploy.compose.settings import read_settings
from deploy.settings.values import BadSetting
from tests.unit.deploy.compose.machine import MakeSettings


def test_the_environment_wins_over_dotenv_and_dotenv_over_the_defaults(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=9000\nMODELS=llama3.2, qwen3:4b\nCOMPOSE_PROFILES=gpu\n")
    settings = read_settings({"PORT": "9001"}, dotenv)
    assert (settings.port, settings.models, settings.profile) == (9001, ("llama3.2", "qwen3:4b"), "gpu")
    assert settings.bind == "127.0.0.1"


def test_without_any_setting_the_profile_is_cpu(settings: MakeSettings) -> None:
    assert settings().profile == "cpu"
    assert settings(COMPOSE_PROFILES="").profile == "cpu"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("BIND", "localhost"),
        ("TLS", "yes"),
        ("OLLAMA_MEMORY", "much"),
        ("RENDER_GID", "render"),
        ("TLS_DIR", "./certs"),
        ("GRAFANA_PORT", "0"),
        ("PROMETHEUS_PORT", "-1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_variable(
    settings: MakeSettings, variable: str, value: str
) -> None:
    with pytest.raises(BadSetting, match=rf"{variable} .*'{value}'"):
        settings(**{variable: value})


@pytest.mark.parametrize("value", ["gpu1:11434", "http://", "http://a:port", "ftp://a", "http://a, b"])
def test_an_address_of_a_server_that_is_none_is_refused(settings: MakeSettings, value: str) -> None:
    with pytest.raises(BadSetting, match="OLLAMA_URLS must be URLs like"):
        settings(OLLAMA_URLS=value)


@pytest.mark.parametrize("value", ["gpu,monitoring", "monitoring, gpu"])
def test_monitoring_stands_beside_the_profile_of_a_model_server(settings: MakeSettings, value: str) -> None:
    both = settings(COMPOSE_PROFILES=value)
    assert (both.profile, both.monitoring, both.profiles) == ("gpu", True, "gpu,monitoring")
    alone = settings(COMPOSE_PROFILES="gpu")
    assert (alone.profile, alone.monitoring, alone.profiles) == ("gpu", False, "gpu")


def test_monitoring_alone_is_refused_because_it_starts_no_model_server(settings: MakeSettings) -> None:
    with pytest.raises(BadSetting, match=r"starts no model server.*PROFILE=cpu,monitoring"):
        settings(COMPOSE_PROFILES="monitoring")


def test_several_profiles_may_be_added_in_any_order(settings: MakeSettings) -> None:
    added = settings(COMPOSE_PROFILES="shared,cpu,monitoring")
    assert (added.profile, added.monitoring, added.shared) == ("cpu", True, True)
    assert added.profiles == "cpu,monitoring,shared"
    with pytest.raises(BadSetting, match=r"starts no model server.*PROFILE=cpu,monitoring,shared"):
        settings(COMPOSE_PROFILES="shared,monitoring")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ""),
        ({"COMPOSE_PROFILES": "cpu,shared"}, "/shared/url"),
        ({"GATEWAY_SHARED_URL_FILE": "/run/secrets/url"}, "/run/secrets/url"),
    ],
)
def test_the_address_of_what_is_shared_counts_only_with_the_profile(
    settings: MakeSettings, variables: dict[str, str], expected: str
) -> None:
    assert settings(**variables).shared_url_file == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "off"),
        ({"COMPOSE_PROFILES": "gpu,monitoring"}, "on"),
        ({"COMPOSE_PROFILES": "amd"}, "on"),
        ({"COMPOSE_PROFILES": "gpu", "GATEWAY_GPU_EXPECTED": "off"}, "off"),
    ],
)
def test_with_the_profile_of_a_gpu_models_are_expected_there_unless_it_is_said_otherwise(
    settings: MakeSettings, variables: dict[str, str], expected: str
) -> None:
    assert settings(**variables).gpu_expected == expected


@pytest.mark.parametrize("value", ["gpus", "cpu,gpu", "cpu,gpu,monitoring", ","])
def test_a_profile_that_is_none_names_those_that_are(settings: MakeSettings, value: str) -> None:
    with pytest.raises(BadSetting, match=f"{value}.*cpu, gpu, amd, embedded"):
        settings(COMPOSE_PROFILES=value)


def test_memory_is_counted_as_docker_counts_it(settings: MakeSettings) -> None:
    amounts = [settings(OLLAMA_MEMORY=text).ollama_memory for text in ("8g", "512M", "1.5gb", "0", "1024")]
    assert amounts == [8 * 2**30, 512 * 2**20, 3 * 2**29, 0, 1024]


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"BIND": "0.0.0.0", "PORT": 80}, "http://127.0.0.1:80"),
        ({"BIND": "[::]", "TLS": "on"}, "https://[::1]:8000"),
        ({"BIND": "192.0.2.7"}, "http://192.0.2.7:8000"),
    ],
)
def test_the_address_is_one_that_this_machine_reaches(
    settings: MakeSettings, variables: dict[str, object], url: str
) -> None:
    assert settings(**variables).url == url


def test_the_pair_is_in_the_repository_unless_it_is_said_to_be_elsewhere(settings: MakeSettings) -> None:
    assert settings().certificate == ROOT / "deploy/tls/fullchain.pem"
    assert settings(TLS_DIR="/etc/tls").key == Path("/etc/tls/privkey.pem")
