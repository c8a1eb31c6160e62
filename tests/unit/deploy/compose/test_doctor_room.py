"""Ports, certificates, memory and disk."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.compose.certs import make_pair
from deploy.compose.checks.monitoring import check_monitoring
from deploy.compose.checks.ports import check_ports
from deploy.compose.checks.resources import check_disk, check_memory
from deploy.compose.checks.tls import check_tls
from deploy.compose.model_sizes import GB, estimate
from tests.unit.deploy.compose.machine import (
    OPENSSL,
    MakeSettings,
    Program,
    container,
    docker_info,
    levels_and_text,
    needs_openssl,
)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_names_who_has_it(program: Program, settings: MakeSettings, taken: int) -> None:
    levels, text = levels_and_text(check_ports(settings(PORT=taken), None, []))
    assert levels == ["fail"]
    assert f"port {taken} on 127.0.0.1 is in use by another program" in text
    assert "PORT= in .env" in text

    program("ss", """echo 'LISTEN 0 5 127.0.0.1:1 0.0.0.0:* users:(("caddy",pid=42,fd=3))'""")
    assert "in use by caddy (pid 42)" in levels_and_text(check_ports(settings(PORT=taken), None, []))[1]

    program("docker", "echo other-web-1")
    assert "the container other-web-1" in levels_and_text(check_ports(settings(PORT=taken), None, []))[1]


def test_a_port_that_this_stack_has_is_its_own(settings: MakeSettings, taken: int) -> None:
    nginx = container("nginx", ports=frozenset({taken}))
    assert levels_and_text(check_ports(settings(PORT=taken), None, [nginx]))[0] == ["ok"]


def test_the_port_that_redirects_counts_only_with_tls(
    program: Program, settings: MakeSettings, taken: int
) -> None:
    program("ss", "exit 0")
    with socket.create_server(("127.0.0.1", 0)) as closing:
        free = closing.getsockname()[1]
    assert levels_and_text(check_ports(settings(PORT=free, HTTP_PORT=taken), None, []))[0] == ["ok"]
    levels, text = levels_and_text(check_ports(settings(PORT=free, HTTP_PORT=taken, TLS="on"), None, []))
    assert levels == ["ok", "fail"]
    assert "HTTP_PORT= in .env" in text


def test_with_monitoring_its_ports_count_too_and_on_loopback_whatever_bind_says(
    program: Program, settings: MakeSettings, taken: int
) -> None:
    program("ss", "exit 0")
    with socket.create_server(("127.0.0.1", 0)) as closing:
        free = closing.getsockname()[1]
    ports = {"BIND": "0.0.0.0", "PORT": free, "GRAFANA_PORT": taken, "PROMETHEUS_PORT": free}
    assert levels_and_text(check_ports(settings(**ports), None, []))[0] == ["ok"]
    with_monitoring = settings(**ports, COMPOSE_PROFILES="cpu,monitoring")
    levels, text = levels_and_text(check_ports(with_monitoring, None, []))
    assert levels == ["ok", "fail", "ok"]
    assert f"port {taken} on 127.0.0.1 is in use" in text
    assert "GRAFANA_PORT= in .env" in text
    grafana = container("grafana", ports=frozenset({taken}))
    assert levels_and_text(check_ports(with_monitoring, None, [grafana]))[0] == ["ok", "ok", "ok"]


@pytest.mark.parametrize(
    ("variables", "levels"),
    [
        ({}, []),
        ({"COMPOSE_PROFILES": "cpu,monitoring"}, ["fail"]),
        ({"COMPOSE_PROFILES": "cpu,monitoring", "GRAFANA_PASSWORD": "secret"}, []),
    ],
)
def test_grafana_needs_a_password_where_it_is_started(
    settings: MakeSettings, variables: dict[str, str], levels: list[str]
) -> None:
    said, text = levels_and_text(check_monitoring(settings(**variables)))
    assert said == levels
    assert "secret" not in text
    assert not levels or "GRAFANA_PASSWORD= into .env" in text


def test_an_address_of_another_machine_cannot_be_bound(settings: MakeSettings) -> None:
    levels, text = levels_and_text(check_ports(settings(BIND="192.0.2.1"), None, []))
    assert levels == ["fail"]
    assert "192.0.2.1 is not an address of this machine" in text


def test_certificates_matter_only_with_tls(settings: MakeSettings, tmp_path: Path) -> None:
    assert not list(check_tls(settings(TLS_DIR=tmp_path)))
    levels, text = levels_and_text(check_tls(settings(TLS_DIR=tmp_path, TLS="on")))
    assert levels == ["fail", "fail"]
    assert "make certs" in text


@needs_openssl
def test_a_pair_is_good_until_nginx_cannot_read_its_key(settings: MakeSettings, tmp_path: Path) -> None:
    tls = settings(TLS_DIR=tmp_path / "tls", TLS="on")
    make_pair(tls, force=False)
    levels, text = levels_and_text(check_tls(tls))
    assert levels == ["ok"], text

    tls.key.chmod(0o600)
    levels, text = levels_and_text(check_tls(tls))
    assert levels == ["fail"]
    assert f"chmod 644 {tls.key}" in text


@needs_openssl
def test_certificate_and_key_have_to_belong_together(settings: MakeSettings, tmp_path: Path) -> None:
    one, other = (settings(TLS_DIR=tmp_path / name, TLS="on") for name in ("one", "other"))
    make_pair(one, force=False)
    make_pair(other, force=False)
    other.key.replace(one.key)
    assert "do not belong together" in levels_and_text(check_tls(one))[1]
    one.certificate.write_text("no certificate")
    assert "cannot be used" in levels_and_text(check_tls(one))[1]


@needs_openssl
@pytest.mark.parametrize(("seconds", "level"), [("0", "fail"), ("1209600", "warn")])
def test_a_certificate_that_ends_is_announced(
    program: Program, settings: MakeSettings, tmp_path: Path, seconds: str, level: str
) -> None:
    program("openssl", f'exec {OPENSSL} "$@"')
    tls = settings(TLS_DIR=tmp_path / "tls", TLS="on")
    make_pair(tls, force=False)
    program("openssl", f"echo notAfter=Feb 20; for last; do :; done; [ $last -lt {seconds} ]")
    levels, text = levels_and_text(check_tls(tls))
    assert levels == [level]
    assert "Feb 20. Renew it" in text


def test_docker_leaves_a_folder_where_a_file_was_missing(settings: MakeSettings, tmp_path: Path) -> None:
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).mkdir()
    assert "rmdir" in levels_and_text(check_tls(settings(TLS_DIR=tmp_path, TLS="on")))[1]


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("qwen2.5:1.5b", 1.5),
        ("smollm2:135m", 0.135),
        ("llama3.2", 3),
        ("llama3.2:latest", 3),
        ("mixtral:8x7b", 56),
        ("qwen3:30b-a3b", 30),
        ("gemma3n:e4b", 4),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", 1),
    ],
)
def test_the_size_of_a_model_is_in_its_name(model: str, billions: float) -> None:
    size = estimate(model)
    assert size is not None
    assert size.file == pytest.approx(billions * 0.6 * GB)


def test_finer_weights_take_more() -> None:
    q8, f16 = estimate("llama3.1:8b-instruct-q8_0"), estimate("llama3.1:8b-instruct-fp16")
    assert q8 is not None
    assert f16 is not None
    assert [q8.file / GB, f16.file / GB] == pytest.approx([8.8, 16])
    assert estimate("my-own:latest") is None


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    """Of a machine with 16 GB, 4 of them free."""
    path = tmp_path / "meminfo"
    path.write_text(
        f"MemTotal: {16 * 10**6 // 1024 * 1000} kB\nMemAvailable: {4 * 10**6 // 1024 * 1000} kB\n"
    )
    return path


@pytest.mark.parametrize(
    ("variables", "levels", "said"),
    [
        ({}, ["ok"], "about 1.9 GB of memory (an estimate)"),
        ({"MODELS": "qwen3:8b"}, ["warn"], "only 4.0 GB are free"),
        ({"MODELS": "qwen3:4b,qwen3:14b"}, ["fail", "warn"], "qwen3:14b needs about 9.4 GB"),
        ({"MODELS": "qwen3:14b"}, ["fail", "warn"], "OLLAMA_MEMORY=10g"),
        ({"MODELS": "qwen3:14b", "OLLAMA_MEMORY": "12g"}, ["warn"], "are free"),
        ({"MODELS": "llama3.3:70b", "OLLAMA_MEMORY": "0"}, ["fail"], "the machine has 16.0 GB"),
        ({"MODELS": "my-own"}, ["warn"], "how large my-own will be"),
        ({"MODELS": "llama3.3:70b", "COMPOSE_PROFILES": "embedded"}, [], ""),
        ({"MODELS": "llama3.3:70b", "COMPOSE_PROFILES": "external"}, [], ""),
    ],
)
def test_the_largest_model_has_to_fit_into_memory(
    settings: MakeSettings, meminfo: Path, variables: dict[str, object], levels: list[str], said: str
) -> None:
    found, text = levels_and_text(check_memory(settings(**variables), None, [], meminfo))
    assert found == levels
    assert said in text


def test_memory_that_the_running_stack_takes_is_not_missed(settings: MakeSettings, meminfo: Path) -> None:
    running = [container("ollama")]
    found = check_memory(settings(MODELS="qwen3:8b"), None, running, meminfo)
    assert levels_and_text(found)[0] == ["ok"]


def test_the_disk_has_to_take_images_and_models(program: Program, settings: MakeSettings) -> None:
    docker = docker_info(program, DockerRootDir="/")
    assert levels_and_text(check_disk(settings(COMPOSE_PROFILES="embedded"), docker))[0] in (["ok"], ["fail"])

    huge = settings(MODELS="x:9999999b")
    program("docker", "exit 0")  # no volumes: the stack was never up
    levels, text = levels_and_text(check_disk(huge, docker))
    assert levels == ["fail"]
    assert "docker system prune" in text
    program("docker", "echo sluice_models")
    assert levels_and_text(check_disk(huge, docker))[0] == ["warn"]


def test_a_disk_that_cannot_be_seen_is_not_guessed_at(program: Program, settings: MakeSettings) -> None:
    for changes in ({"DockerRootDir": "/nowhere"}, {"Name": "docker-desktop"}):
        levels, text = levels_and_text(check_disk(settings(), docker_info(program, **changes)))
        assert levels == ["warn"]
        assert "cannot be seen from here" in text
