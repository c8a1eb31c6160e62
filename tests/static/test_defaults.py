"""Each default is defined in one place, and every copy matches it.

They are defined in the services' settings, in deploy's for what concerns the whole stack, and in code for
what cannot be configured.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from deploy.compose.checks import tls
from deploy.compose.settings import MODEL_SERVERS
from deploy.compose.settings import Settings as ContainerSettings
from deploy.compose.settings import read_settings as read_container_settings
from deploy.native import cli, programs
from deploy.native.stack import read_stack
from engine.api.ollama.models import OLLAMA_VERSION
from engine.models.catalogue import BUILT_IN_MODEL
from engine.settings import Settings as EngineSettings
from gateway.settings import Settings as GatewaySettings
from tests.processes import ROOT

ENV_EXAMPLE = ROOT / ".env.example"
OTHERS = [
    ROOT / "compose.yaml",
    ROOT / "deploy/compose/tls-on.yaml",
    ROOT / "deploy/compose/tls-off.yaml",
    ROOT / "nginx/entrypoint/40-gateway.sh",
]

EXAMPLE = dict(re.findall(r"^#([A-Z_]+)=(.*)$", ENV_EXAMPLE.read_text(), re.MULTILINE))
WITH_DEFAULT = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")  # in shell and Compose

# Defaults that differ on purpose, and why.
MEANT = {
    ("compose.yaml", "GATEWAY_OPEN_METRICS"): "in containers only Prometheus can reach them",
    ("compose.yaml", "OLLAMA_NUM_PARALLEL"): "Ollama's own default; of another Ollama it is unknown",
    ("tls-on.yaml", "TLS_DIR"): "relative to that file; the test below follows it",
    (
        "40-gateway.sh",
        "GATEWAY_CORS_ORIGINS",
    ): "the shell's ':-' with nothing after it: also empty",
}


def stated() -> Iterator[tuple[str, str, str]]:
    """File, variable and default of each copy."""
    yield from ((ENV_EXAMPLE.name, variable, default) for variable, default in EXAMPLE.items())
    for path in OTHERS:
        for variable, default in sorted(set(WITH_DEFAULT.findall(path.read_text()))):
            yield path.name, variable, default


STATED = list(stated())


def container_settings(**variables: str) -> ContainerSettings:
    return read_container_settings(variables, Path("/nowhere/.env"))


@pytest.mark.parametrize(
    ("file", "variable", "default"), [place for place in STATED if place[:2] not in MEANT]
)
def test_setting_a_variable_to_its_documented_default_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, file: str, variable: str, default: str
) -> None:
    for prefixed in {*EXAMPLE, variable}:
        monkeypatch.delenv(prefixed, raising=False)
    before = GatewaySettings(), EngineSettings(), read_stack(), container_settings()
    monkeypatch.setenv(variable, default)
    after = GatewaySettings(), EngineSettings(), read_stack(), container_settings(**{variable: default})
    assert after == before


@pytest.mark.parametrize("variable", sorted({variable for _, variable, _ in STATED}))
def test_a_default_is_the_same_everywhere(variable: str) -> None:
    """This includes defaults that only compose.yaml defines, because only an image reads them."""
    found = {file: default for file, name, default in STATED if name == variable}
    alike = {default for file, default in found.items() if (file, variable) not in MEANT}
    assert len(alike) <= 1, found


@pytest.mark.parametrize(("prefix", "settings"), [("GATEWAY_", GatewaySettings), ("ENGINE_", EngineSettings)])
def test_every_setting_of_the_services_is_in_the_example(
    prefix: str, settings: type[GatewaySettings] | type[EngineSettings]
) -> None:
    aliases = {name: field.validation_alias for name, field in settings.model_fields.items()}
    variables = {str(alias or prefix + name.upper()) for name, alias in aliases.items()}
    assert {name for name in EXAMPLE if name.startswith(prefix) or name in variables} == variables


def test_compose_and_doctor_use_the_same_certificate_directory() -> None:
    [default] = {default for file, name, default in STATED if name == "TLS_DIR" and file == "tls-on.yaml"}
    assert (ROOT / "deploy/compose" / default).resolve() == container_settings().tls_dir


GATEWAY, CONTAINERS = GatewaySettings(), container_settings()
OLLAMA_PORT = GATEWAY.ollama_url.port

# By name: the defined value, and for each copy the file and a pattern whose group matches it.
COPIES: dict[str, tuple[object, dict[str, str]]] = {
    "the gateway's port": (
        GATEWAY.port,
        {
            "compose.yaml": r"NGINX_GATEWAY: gateway:(\d+)",
            "services/gateway/Dockerfile": r"(?:EXPOSE |http://127\.0\.0\.1:)(\d+)",
            "deploy/prometheus/prometheus.yaml": r"names: \[gateway\], type: A, port: (\d+)",
        },
    ),
    "Ollama's port": (
        OLLAMA_PORT,
        {
            "compose.yaml": r"model-server:(\d+)",
            "services/engine/Dockerfile": r"(?:EXPOSE |ENGINE_PORT=|http://127\.0\.0\.1:)(\d+)",
            "deploy/native/next_steps.py": r"http://(?:127\.0\.0\.1|localhost):(\d+)",
        },
    ),
    "Grafana's port": (
        CONTAINERS.grafana_port,
        {"deploy/prometheus/rules/alerts.yaml": r"dashboard: http://127\.0\.0\.1:(\d+)/"},
    ),
    "Prometheus' port": (
        CONTAINERS.prometheus_port,
        {"deploy/grafana/dashboard.py": r'"http://127\.0\.0\.1:(\d+)/alerts"'},
    ),
    "nginx's user": (
        tls.NGINX_UID,
        {"compose.yaml": r'image: nginxinc/nginx-unprivileged:\S+\s+user: "(\d+):'},
    ),
    "open files": (
        cli.OPEN_FILES,
        {"nginx/nginx.conf": r"worker_rlimit_nofile (\d+)", "compose.yaml": r"nofile: (\d+)"},
    ),
    "how long a model may take to load": (
        int(GATEWAY.load_timeout),
        {"deploy/compose/checks/model.py": r"LOAD_SECONDS = (\d+)"},
    ),
    "the grace of make run": (int(programs.GRACE_SECONDS), {".env.example": r"`make run` takes (\d+)\."}),
    "the engine's model": (BUILT_IN_MODEL, {".env.example": r"`make run` with the engine: (\S+)\."}),
    "the gateway's version": (
        gateway.__version__,
        {
            "compose.yaml": r"image: sluice-gateway:(\S+)",
            "services/gateway/Dockerfile": r'image\.version="(.+?)"',
        },
    ),
    "the engine's version": (
        tomllib.loads((ROOT / "services/engine/pyproject.toml").read_text())["project"]["version"],
        {
            "compose.yaml": r"image: sluice-engine:(\S+)",
            "services/engine/Dockerfile": r'image\.version="(.+?)"',
        },
    ),
    "Ollama's version": (
        OLLAMA_VERSION,
        {"compose.yaml": r"(?:ollama/ollama|sluice-ollama):([\d.]+)"},
    ),
}


@pytest.mark.parametrize("what", COPIES)
def test_every_copy_of_a_value_matches_its_definition(what: str) -> None:
    home, places = COPIES[what]
    for place, pattern in places.items():
        copies = re.findall(pattern, (ROOT / place).read_text())
        assert copies, f"{place} no longer contains it"
        assert set(copies) == {str(home)}, place


def test_every_profile_of_a_model_server_is_in_compose_yaml() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for profile, service in MODEL_SERVERS.items():
        assert re.search(rf"^  {service}:\n(?:    .*\n)*?    profiles: \[.*\b{profile}\]", text, re.MULTILINE)
