"""compose.yaml as Compose interprets it, and variants that a single running stack does not cover."""

import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import ROOT, free_port
from tests.stack.containers import Containers, docker, running

# Settings of the gateway from which nginx derives its own.
CHANGED = {"GATEWAY_SEND_TIMEOUT": "150.5", "GATEWAY_CORS_ORIGINS": "https://*.ui.example"}
# The model server that each profile runs.
SERVERS = {"": "ollama", "cpu": "ollama", "gpu": "ollama-gpu", "amd": "ollama-amd", "embedded": "engine"}


def configuration(profile: str, *options: str, **environment: str) -> dict[str, Any]:
    """The output of `docker compose config`."""
    done = subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", *options, "config", "--format", "json"],
        cwd=ROOT,
        env={**os.environ, "COMPOSE_PROFILES": profile, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("tls", ["on", "off"])
@pytest.mark.parametrize(("profile", "server"), SERVERS.items(), ids=lambda value: value or "none")
def test_a_profile_runs_its_own_model_server_and_no_other(profile: str, server: str, tls: str) -> None:
    services = set(configuration(profile, TLS=tls)["services"])
    assert services & set(SERVERS.values()) == {server}
    assert {"gateway", "nginx"} <= services
    assert ("models" in services) == (server != "engine")


def test_the_profile_external_runs_no_model_server() -> None:
    whole = configuration("external", OLLAMA_URLS="http://gpu1:11434 name=big, http://gpu2:11434")
    assert set(whole["services"]) == {"gateway", "nginx", "models"}
    inside = whole["services"]["gateway"]["environment"]
    assert inside["GATEWAY_OLLAMA_URLS"] == "http://gpu1:11434 name=big, http://gpu2:11434"
    assert "outside" in whole["networks"]
    assert "outside" not in configuration("cpu")["networks"]


@pytest.mark.parametrize("profile", [profile for profile in SERVERS if profile])
def test_a_profile_may_also_be_named_on_the_command_line(profile: str) -> None:
    services = set(configuration("", "--profile", profile)["services"])
    assert services & set(SERVERS.values()) == {SERVERS[profile]}


def test_each_gpu_profile_requests_its_devices() -> None:
    [nvidia] = configuration("gpu")["services"]["ollama-gpu"]["deploy"]["resources"]["reservations"][
        "devices"
    ]
    assert nvidia["driver"] == "nvidia"
    assert nvidia["capabilities"] == ["gpu"]
    assert len(configuration("amd")["services"]["ollama-amd"]["devices"]) == 2


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["make", "certs"], cwd=ROOT, env={**os.environ, "TLS_DIR": str(folder)}, check=True)
    return folder


@pytest.fixture(scope="module")
def secure(certificates: Path) -> Iterator[Containers]:
    settings = {"TLS": "on", "TLS_DIR": str(certificates), "HTTP_PORT": str(free_port())}
    with running(COMPOSE_PROJECT_NAME="sluice-test-tls", **settings, **CHANGED) as (stack, _):
        yield stack


@pytest.fixture(scope="module")
def trusted(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates / "fullchain.pem"))


def negotiated(stack: Containers, trusted: ssl.SSLContext) -> tuple[str | None, str | None]:
    """The negotiated TLS version and application protocol."""
    address = ("127.0.0.1", int(stack.url.rpartition(":")[2]))
    with (
        socket.create_connection(address, 10) as plain,
        trusted.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        return tls.version(), tls.selected_alpn_protocol()


def test_with_tls_clients_speak_http_2(secure: Containers, trusted: ssl.SSLContext) -> None:
    trusted.set_alpn_protocols(["h2", "http/1.1"])
    assert negotiated(secure, trusted) == ("TLSv1.3", "h2")


def test_tls_older_than_1_2_is_refused(secure: Containers, certificates: Path) -> None:
    old = ssl.create_default_context(cafile=str(certificates / "fullchain.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert negotiated(secure, old)[0] == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        negotiated(secure, old)


def test_plain_http_is_redirected_to_https_on_either_port(secure: Containers) -> None:
    port = secure.url.rpartition(":")[2]
    for plain in (port, secure.environment["HTTP_PORT"]):
        answer = httpx.post(f"http://localhost:{plain}/chat?a=b", content="{}", trust_env=False)
        assert (answer.status_code, answer.headers["location"]) == (308, f"https://localhost:{port}/chat?a=b")


def test_nginxs_limits_follow_the_gateways_settings(secure: Containers, certificates: Path) -> None:
    nginx = secure.containers("nginx")[0]
    written = docker("exec", nginx, "cat", "/etc/nginx/conf.d/gateway.conf")
    assert "\nsend_timeout 161s;" in written
    assert "\nproxy_read_timeout 3610s;" in written
    trusted = ssl.create_default_context(cafile=str(certificates / "fullchain.pem"))
    with httpx.Client(base_url=secure.url.replace("127.0.0.1", "localhost"), verify=trusted) as client:
        for origin, allowed in (("https://a.ui.example", True), ("https://ui.example", False)):
            refused = client.get("/metrics", headers={"Origin": origin})
            assert refused.status_code == 403
            assert (refused.headers.get("access-control-allow-origin") == origin) == allowed


def test_the_record_of_make_verify_passes_over_https(secure: Containers) -> None:
    assert "VERDICT: streamed; every check passed" in secure.verify()
