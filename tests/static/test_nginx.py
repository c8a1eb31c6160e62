"""Every variant of the nginx configuration is valid and without known weaknesses."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import stack
import trustme

from tests.static import composition
from tests.static.checkers import run

NATIVE = {
    "NGINX_LISTEN": "127.0.0.1:8000",
    "NGINX_GATEWAY": "127.0.0.1:8001",
    "NGINX_RESOLVER": "127.0.0.1",
    "NGINX_MAX_BODY": "10485760",
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


def _values(variant: str) -> dict[str, str]:
    if variant == "native":
        return NATIVE
    nginx = composition.services(CONTAINERS[variant])["nginx"]
    values = {name: value or "" for name, value in composition.variables(nginx).items()}
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
        stack.render_nginx(folder, _values(variant))
        (folder / "tls").mkdir()
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls" / "fullchain.pem")
        certificate.private_key_pem.write_to_path(folder / "tls" / "privkey.pem")
    return {variant: parent / variant for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_nginx_takes_the_configuration_without_a_warning(
    folders: dict[str, Path], variant: str, tmp_path: Path
) -> None:
    nginx, _ = stack.find_nginx()
    folder = folders[variant]
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    if "http_stub_status_module" not in built:
        # As nginx/entrypoint does it in the container.
        folder = tmp_path / "nginx"
        shutil.copytree(folders[variant], folder, ignore=shutil.ignore_patterns("status-on"))
    command = [*stack.nginx_command(nginx, folder), "-t", "-q"]
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
