"""Every variant of nginx's configuration is valid, without known weaknesses, above the gateway's limits."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from deploy.native.nginx import configure_nginx, find_nginx, nginx_command, render_nginx
from deploy.native.stack import Stack
from deploy.settings.values import BadSetting
from gateway.settings import Settings
from tests.processes import ROOT, free_port
from tests.static import composition
from tests.static.checkers import run

NATIVE = {
    "NGINX_LISTEN": "127.0.0.1:8000",
    "NGINX_GATEWAY": "127.0.0.1:8001",
    "NGINX_RESOLVER": "127.0.0.1",
    "NGINX_TLS": "off",
    "NGINX_STATUS": "off",
}
# The settings with which compose.yaml is read; what it makes of them is what nginx gets.
CONTAINERS = {
    "container": {"TLS": "off"},
    "container with TLS": {"TLS": "on"},
    "container with TLS on the usual ports": {"TLS": "on", "PORT": "443", "HTTP_PORT": "80"},
}
VARIANTS = ["native", *CONTAINERS]

# What gixy finds and we mean: its check and the file, and why.
ACCEPTED = {
    ("proxy_buffering_off", "snippets/streaming.conf"): (
        "tokens go on as they come; a reader that takes nothing is let go by send_timeout and the gateway"
    ),
    ("host_spoofing", "snippets/forwarded.conf"): (
        "nothing is chosen by its Host, and $host would lose the port of the address that was asked"
    ),
    ("status_page_exposed", "conf.d/status-on/server.conf"): (
        "it listens in the network of the metrics alone, where there are only the gateways and Prometheus"
    ),
}

# The settings that each of nginx's limits follows: the largest, of those that stand together their sum, since
# the gateway may wait for one after the other.
FOLLOWED = {
    "client_max_body_size": [["max_body_bytes"]],
    "client_header_timeout": [["request_timeout"]],
    "client_body_timeout": [["request_timeout"]],
    "send_timeout": [["send_timeout"]],
    "proxy_read_timeout": [["first_byte_timeout", "idle_timeout"], ["manage_timeout"]],
    "proxy_send_timeout": [["first_byte_timeout", "idle_timeout"], ["manage_timeout"]],
}
# Those that the gateway has no part in, and why.
OF_ITS_OWN = {
    "proxy_connect_timeout": "the gateway is not there yet",
    "keepalive_timeout": "connections that nobody asks on; below what gunicorn.conf.py says of the gateway's",
    "fail_timeout": "how long a gateway that refuses connections is passed over",
    "ssl_session_timeout": "how long a client may come back without a full handshake",
}
LIMIT = re.compile(r"\b(client_max_body_size|\w+_timeout)(?: |=)(\d+)s?\b")
MARGIN = {"client_max_body_size": 65536}

# Values that no default is, as people may write them.
CHANGED = {
    "GATEWAY_MAX_BODY_BYTES": "20_000_000",
    "GATEWAY_REQUEST_TIMEOUT": "0.5",
    "GATEWAY_SEND_TIMEOUT": "150",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "9e3",
    "GATEWAY_IDLE_TIMEOUT": " 77.25 ",
    "GATEWAY_MANAGE_TIMEOUT": "60.",
}


def _values(variant: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What nginx's files are filled in with, if `environment` is what the stack is started in."""
    environment = environment or {}
    if variant == "native":
        return {**NATIVE, **environment}
    nginx = composition.services({**CONTAINERS[variant], **environment})["nginx"]
    values = {
        name: environment.get(name, "") if value is None else value
        for name, value in composition.variables(nginx).items()
    }
    # A name that only Docker knows.
    return {
        **values,
        "NGINX_STATUS_LISTEN": values["NGINX_STATUS_LISTEN"].replace("nginx-status", "127.0.0.1"),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each variant filled in, with a certificate."""
    certificate = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost")
    parent = tmp_path_factory.mktemp("nginx")
    for variant in VARIANTS:
        folder = parent / variant
        render_nginx(folder, _values(variant))
        (folder / "tls").mkdir()
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls" / "fullchain.pem")
        certificate.private_key_pem.write_to_path(folder / "tls" / "privkey.pem")
    return {variant: parent / variant for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_nginx_takes_the_configuration_without_a_warning(
    folders: dict[str, Path], variant: str, tmp_path: Path
) -> None:
    nginx, _ = find_nginx()
    folder = folders[variant]
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    if "http_stub_status_module" not in built:
        # As nginx/entrypoint does it in the container.
        folder = tmp_path / "nginx"
        shutil.copytree(folders[variant], folder, ignore=shutil.ignore_patterns("status-on"))
    command = [*nginx_command(nginx, folder), "-t", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_gixy_finds_nothing_but_what_is_meant(folders: dict[str, Path]) -> None:
    mains = {str(folder / "nginx.conf"): folder for folder in folders.values()}
    done = run("gixy", "--format", "json", "-ll", *mains)
    assert (done.returncode in (0, 1), done.stderr) == (True, ""), "gixy cannot read it"
    found = {}
    for finding in json.loads(done.stdout):
        main = finding["path"]
        place = Path(finding["file"] or main).relative_to(mains[main])
        found[finding["plugin"], str(place)] = f"{finding['severity']}: {finding['reason']}"
    unexpected = [f"{finding}: {why}" for finding, why in found.items() if finding not in ACCEPTED]
    assert not unexpected, "\n".join(unexpected)
    assert set(ACCEPTED) <= set(found), "what is no longer found needs no acceptance"


def _limits(folder: Path) -> dict[str, set[int]]:
    """Every limit in the files that nginx reads, with the values that it has anywhere."""
    found: dict[str, set[int]] = {}
    for file in folder.rglob("*.conf"):
        for name, value in LIMIT.findall(re.sub(r"#.*", "", file.read_text())):
            found.setdefault(name, set()).add(int(value))
    return found


@pytest.mark.parametrize(
    "environment", [{}, CHANGED, dict.fromkeys(CHANGED, "")], ids=["default", "changed", "empty"]
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_limit_is_the_gateways_setting_and_a_margin(
    variant: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    gateway = Settings()
    render_nginx(tmp_path / "nginx", _values(variant, environment))
    limits = _limits(tmp_path / "nginx")
    assert limits.keys() - OF_ITS_OWN.keys() == FOLLOWED.keys()
    for name, sums in FOLLOWED.items():
        wanted = max(sum(math.ceil(getattr(gateway, setting)) for setting in settings) for settings in sums)
        # Layers of models have no limit of their own.
        assert limits[name] - {0} == {wanted + MARGIN.get(name, 10)}, name
    shown = (tmp_path / "nginx" / "conf.d" / "gateway.conf").read_text()
    assert f"default {gateway.max_body_bytes};" in shown


def test_the_native_run_takes_the_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SEND_TIMEOUT", "150")
    folder = configure_nginx(Stack("127.0.0.1", free_port(), 1, 1, None))
    assert _limits(folder)["send_timeout"] == {160}


def test_connections_to_the_gateway_are_given_up_before_it_closes_them(folders: dict[str, Path]) -> None:
    configuration = (ROOT / "services/gateway/gunicorn.conf.py").read_text()
    kept = re.search(r"^keepalive = (\d+)$", configuration, re.MULTILINE)
    assert kept
    for folder in folders.values():
        assert max(_limits(folder)["keepalive_timeout"]) < int(kept[1])


@pytest.mark.parametrize("value", ["none", "0", "-5", "5s", "1e"])
def test_a_limit_that_is_no_number_stops_the_start_and_is_named(value: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="GATEWAY_SEND_TIMEOUT must be a number above 0"):
        render_nginx(tmp_path / "nginx", {**NATIVE, "GATEWAY_SEND_TIMEOUT": value})


def test_without_a_limit_nginx_waits_for_as_long_as_it_can(tmp_path: Path) -> None:
    render_nginx(tmp_path / "nginx", {**NATIVE, "GATEWAY_SEND_TIMEOUT": "inf"})
    assert _limits(tmp_path / "nginx")["send_timeout"] == {1_000_010}
