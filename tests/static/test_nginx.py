"""Every variant of nginx's configuration is valid and safe, with limits that follow the gateway's."""

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
# Settings for compose.yaml, from which nginx's variables follow.
CONTAINERS = {
    "container": {"TLS": "off"},
    "container with TLS": {"TLS": "on"},
    "container with TLS on the usual ports": {"TLS": "on", "PORT": "443", "HTTP_PORT": "80"},
}
VARIANTS = ["native", *CONTAINERS]

# Issues that gixy reports and we accept: check, file and reason.
ACCEPTED = {
    ("proxy_buffering_off", "snippets/streaming.conf"): (
        "tokens are passed on immediately; send_timeout and the gateway end connections that are not read"
    ),
    ("host_spoofing", "snippets/forwarded.conf"): (
        "no decision depends on Host, and $host would lose the port"
    ),
    ("status_page_exposed", "conf.d/status-on/server.conf"): (
        "it only listens in the network metrics, which clients cannot reach"
    ),
}

# The settings from which each of nginx's limits is derived: the largest sum. Settings in one list are added
# up, because the gateway may wait for one after the other.
SILENCES = ["queue_timeout", "load_timeout", "first_byte_timeout", "idle_timeout"]
FOLLOWED = {
    "client_max_body_size": [["max_body_bytes"]],
    "client_header_timeout": [["request_timeout"]],
    "client_body_timeout": [["request_timeout"]],
    "send_timeout": [["send_timeout"]],
    "proxy_read_timeout": [SILENCES, ["manage_timeout"]],
    "proxy_send_timeout": [SILENCES, ["manage_timeout"]],
}
# Limits that do not depend on the gateway's settings, and why.
OF_ITS_OWN = {
    "proxy_connect_timeout": "applies before the gateway is involved",
    "keepalive_timeout": "idle connections; below the gateway's in gunicorn.conf.py",
    "fail_timeout": "how long a gateway that refuses connections is skipped",
    "ssl_session_timeout": "how long a client may resume a TLS session",
}
LIMIT = re.compile(r"\b(client_max_body_size|\w+_timeout)(?: |=)(\d+)s?\b")
MARGIN = {"client_max_body_size": 65536}

# Values that differ from the defaults, in the notations that settings allow.
CHANGED = {
    "GATEWAY_MAX_BODY_BYTES": "20_000_000",
    "GATEWAY_REQUEST_TIMEOUT": "0.5",
    "GATEWAY_SEND_TIMEOUT": "150",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "9e3",
    "GATEWAY_LOAD_TIMEOUT": "700",
    "GATEWAY_IDLE_TIMEOUT": " 77.25 ",
    "GATEWAY_MANAGE_TIMEOUT": "60.",
    "GATEWAY_QUEUE_TIMEOUT": "200",
}


def _values(variant: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables for nginx's templates, if the stack is started with `environment`."""
    environment = environment or {}
    if variant == "native":
        return {**NATIVE, **environment}
    nginx = composition.services({**CONTAINERS[variant], **environment})["nginx"]
    values = {
        name: environment.get(name, "") if value is None else value
        for name, value in composition.variables(nginx).items()
    }
    # Only Docker can resolve this name.
    return {
        **values,
        "NGINX_STATUS_LISTEN": values["NGINX_STATUS_LISTEN"].replace("nginx-status", "127.0.0.1"),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each variant with its templates filled in, and a certificate."""
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
def test_nginx_accepts_the_configuration_without_a_warning(
    folders: dict[str, Path], variant: str, tmp_path: Path
) -> None:
    nginx, _ = find_nginx()
    folder = folders[variant]
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    if "http_stub_status_module" not in built:
        # As nginx/entrypoint does in the container.
        folder = tmp_path / "nginx"
        shutil.copytree(folders[variant], folder, ignore=shutil.ignore_patterns("status-on"))
    command = [*nginx_command(nginx, folder), "-t", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_gixy_finds_only_accepted_issues(folders: dict[str, Path]) -> None:
    mains = {str(folder / "nginx.conf"): folder for folder in folders.values()}
    done = run("gixy", "--format", "json", "-ll", *mains)
    assert (done.returncode in (0, 1), done.stderr) == (True, ""), "gixy cannot read the configuration"
    found = {}
    for finding in json.loads(done.stdout):
        main = finding["path"]
        place = Path(finding["file"] or main).relative_to(mains[main])
        found[finding["plugin"], str(place)] = f"{finding['severity']}: {finding['reason']}"
    unexpected = [f"{finding}: {why}" for finding, why in found.items() if finding not in ACCEPTED]
    assert not unexpected, "\n".join(unexpected)
    assert set(ACCEPTED) <= set(found), "remove accepted issues that gixy no longer reports"


def _limits(folder: Path) -> dict[str, set[int]]:
    """Every limit in nginx's files, with all its values."""
    found: dict[str, set[int]] = {}
    for file in folder.rglob("*.conf"):
        for name, value in LIMIT.findall(re.sub(r"#.*", "", file.read_text())):
            found.setdefault(name, set()).add(int(value))
    return found


@pytest.mark.parametrize(
    "environment", [{}, CHANGED, dict.fromkeys(CHANGED, "")], ids=["default", "changed", "empty"]
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_limit_is_the_gateways_setting_plus_a_margin(
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
        # 0: no limit for layers of models.
        assert limits[name] - {0} == {wanted + MARGIN.get(name, 10)}, name
    shown = (tmp_path / "nginx" / "conf.d" / "gateway.conf").read_text()
    assert f"default {gateway.max_body_bytes};" in shown


def test_the_native_run_reads_the_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SEND_TIMEOUT", "150")
    folder = configure_nginx(Stack("127.0.0.1", free_port(), 1, 1, None))
    assert _limits(folder)["send_timeout"] == {160}


def test_nginx_closes_idle_connections_before_the_gateway_does(folders: dict[str, Path]) -> None:
    configuration = (ROOT / "services/gateway/gunicorn.conf.py").read_text()
    kept = re.search(r"^keepalive = (\d+)$", configuration, re.MULTILINE)
    assert kept
    for folder in folders.values():
        assert max(_limits(folder)["keepalive_timeout"]) < int(kept[1])


@pytest.mark.parametrize("value", ["none", "0", "-5", "5s", "1e"])
def test_a_limit_that_is_not_a_number_stops_the_start_and_is_named(value: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="GATEWAY_SEND_TIMEOUT must be a number above 0"):
        render_nginx(tmp_path / "nginx", {**NATIVE, "GATEWAY_SEND_TIMEOUT": value})


def test_an_infinite_limit_becomes_the_longest_that_nginx_supports(tmp_path: Path) -> None:
    render_nginx(tmp_path / "nginx", {**NATIVE, "GATEWAY_SEND_TIMEOUT": "inf"})
    assert _limits(tmp_path / "nginx")["send_timeout"] == {1_000_010}
