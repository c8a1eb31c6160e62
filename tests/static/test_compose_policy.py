"""Requirements for every service in compose.yaml: hardened, limited, monitored, behind nginx."""

import os
import re
import subprocess

import pytest

from gateway.settings import Settings
from tests.processes import ROOT
from tests.static import composition
from tests.static.composition import Service

# Services that exit: one pulls models, one runs a single command on the keys, one makes Valkey's password.
ONE_SHOT = {"models", "keys", "valkey-password"}
# Its image contains nothing that could run a health check; Prometheus has an alert for it.
WATCHED_BY_PROMETHEUS = {"nginx-exporter"}
MONITORING = {"prometheus", "grafana", "nginx-exporter"}
# Settings that compose.yaml decides: an .env written for the run without Docker must not change them.
DECIDED = {
    "GATEWAY_HOST",
    "GATEWAY_PORT",
    "GATEWAY_OLLAMA_URL",
    "GATEWAY_OLLAMA_URLS",
    "GATEWAY_MODELS",
    "GATEWAY_KEYS_FILE",
    "GATEWAY_PUBLIC_ADDRESS",
}
SHARED = {"valkey", "valkey-password"}

Services = dict[str, Service]


@pytest.fixture(scope="module", params=["off", "on"], ids=["TLS off", "TLS on"])
def services(request: pytest.FixtureRequest) -> Services:
    return composition.services({"TLS": request.param})


def seconds(duration: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", duration))


def published(service: Service) -> list[tuple[str, str]]:
    """Address and port of each published port, as seen from outside."""
    ports = service.get("ports", [])
    return [(address, port) for address, port, _ in (str(entry).rsplit(":", 2) for entry in ports)]


def test_every_service_but_the_one_shots_has_a_health_check(services: Services) -> None:
    def has_check(service: Service) -> bool:
        check = service.get("healthcheck", {})
        return not check.get("disable") and (
            "test" in check
            or re.search(r"^HEALTHCHECK ", composition.dockerfile(service), re.MULTILINE) is not None
        )

    without = {name for name, service in services.items() if not has_check(service)}
    assert without == ONE_SHOT | WATCHED_BY_PROMETHEUS


def test_every_health_check_runs_often_during_the_start(services: Services) -> None:
    for name in services.keys() - ONE_SHOT - WATCHED_BY_PROMETHEUS:
        check = services[name].get("healthcheck", {})
        assert seconds(check.get("start_interval", "5s")) <= 2, name
        assert seconds(check.get("start_period", "0s")) > 0, f"{name}: without it start_interval does nothing"


def test_every_service_but_the_one_shots_restarts_by_itself(services: Services) -> None:
    for name, service in services.items():
        wanted = r"no|on-failure:\d+" if name in ONE_SHOT else r"unless-stopped|always"
        assert re.fullmatch(wanted, service.get("restart", "")), name


def test_every_service_waits_until_its_dependencies_are_healthy(services: Services) -> None:
    waits = [
        (name, other, condition["condition"])
        for name, service in services.items()
        for other, condition in service.get("depends_on", {}).items()
    ]
    assert waits
    for name, other, condition in waits:
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert condition == wanted, f"{name} waits for {other}"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("read_only", True),
        ("cap_drop", ["ALL"]),
        ("cap_add", None),
        ("security_opt", ["no-new-privileges:true"]),
        ("privileged", None),
        ("network_mode", None),
        ("pid", None),
        ("ipc", None),
    ],
)
def test_every_service_is_hardened(services: Services, setting: str, value: object) -> None:
    assert {name for name, service in services.items() if service.get(setting) != value} == set()


def test_every_service_runs_as_a_numbered_user_that_is_not_root(services: Services) -> None:
    for name, service in services.items():
        in_image = re.findall(r"^USER (\S+)$", composition.dockerfile(service), re.MULTILINE)
        user = service.get("user") or "".join(in_image[-1:])
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), f"{name} runs as {user or 'whatever its image says'}"


def test_every_service_has_limits_for_memory_and_processes(services: Services) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"\d+[mg]", service.get("mem_limit", "")), name
        assert 0 < service.get("pids_limit", 0) <= 4096, name


def test_every_service_has_its_log_rotated(services: Services) -> None:
    for name, service in services.items():
        options = service.get("logging", {}).get("options", {})
        assert options.keys() >= {"max-size", "max-file"}, name


def test_only_services_that_drop_lines_themselves_log_in_blocking_mode(
    services: Services,
) -> None:
    waits = {
        name for name, one in services.items() if one["logging"]["options"].get("mode") != "non-blocking"
    }
    assert waits == {"gateway", "models", "keys", "engine", "valkey-password"}
    for name in services.keys() - waits:
        assert services[name]["logging"]["options"]["max-buffer-size"] == "4m", name


def test_every_service_may_open_enough_files_for_nginxs_connections(services: Services) -> None:
    configuration = (ROOT / "nginx/nginx.conf").read_text()
    files, connections = (
        int(re.findall(rf"^ *{name} (\d+);$", configuration, re.MULTILINE)[0])
        for name in ("worker_rlimit_nofile", "worker_connections")
    )
    assert files >= 2 * connections
    assert [name for name, one in services.items() if one.get("ulimits") != {"nofile": files}] == []


def test_nginx_gets_the_settings_that_its_limits_are_derived_from(services: Services) -> None:
    script = (ROOT / "nginx/entrypoint/40-gateway.sh").read_text()
    followed = set(re.findall(r"\$\{(GATEWAY_\w+):-", script))
    inside = composition.variables(services["nginx"])
    assert {name for name in inside if name.startswith("GATEWAY_")} == followed
    assert {inside[name] for name in followed} == {None}
    mounted = [mount for mount in services["nginx"]["volumes"] if "40-gateway.sh" in str(mount)]
    assert mounted == ["./nginx/entrypoint/40-gateway.sh:/docker-entrypoint.d/40-gateway.sh:ro"]
    # The image's entrypoint only runs executable files.
    assert all(os.access(file, os.X_OK) for file in (ROOT / "nginx/entrypoint").iterdir())


def test_every_image_is_pinned_by_a_version(services: Services) -> None:
    for name, service in services.items():
        build = service.get("build", {})
        bases = build.get("args", {}).values() if isinstance(build, dict) else []
        for image in [service["image"], *bases]:
            assert re.search(r":v?\d+\.\d+[\w.-]*$", image), f"{name}: {image}"


def test_only_nginx_and_the_monitoring_pages_publish_a_port(services: Services) -> None:
    assert {name for name, service in services.items() if published(service)} == {
        "nginx", "prometheus", "grafana",
    }  # fmt: skip


def test_the_monitoring_pages_are_on_loopback_whatever_bind_is() -> None:
    services = composition.services({"BIND": "192.0.2.1", "GRAFANA_PORT": "3001"})
    assert published(services["prometheus"]) == [("127.0.0.1", "9090")]
    assert published(services["grafana"]) == [("127.0.0.1", "3001")]


def test_only_prometheus_shares_the_network_with_the_metrics(services: Services) -> None:
    def joined(network: str) -> set[str]:
        return {name for name, service in services.items() if network in service["networks"]}

    assert joined("metrics") == {"gateway", "nginx", "nginx-exporter", "prometheus"}
    assert joined("dashboards") == {"prometheus", "grafana"}
    status = composition.variables(services["nginx"])["NGINX_STATUS_LISTEN"]
    assert status == f"{services['nginx']['networks']['metrics']['aliases'][0]}:8081"


def test_monitoring_is_a_separate_profile(services: Services) -> None:
    assert {name for name, one in services.items() if "monitoring" in one.get("profiles", [])} == MONITORING
    assert {profile for name in MONITORING for profile in services[name]["profiles"]} == {"monitoring"}


def test_grafana_does_not_start_without_a_password_and_says_so() -> None:
    start = composition.services({})["grafana"]["entrypoint"]
    without = subprocess.run(start, capture_output=True, text=True, check=False, env={"PATH": os.defpath})
    assert without.returncode == 1
    assert "GRAFANA_PASSWORD is not set" in without.stderr
    # Outside the image, the next step fails, because /run.sh does not exist.
    password = {"PATH": os.defpath, "GF_SECURITY_ADMIN_PASSWORD": "secret"}
    given = subprocess.run(start, capture_output=True, text=True, check=False, env=password)
    assert "/run.sh" in given.stderr


def test_without_monitoring_no_password_is_required() -> None:
    assert composition.variables(composition.services({})["grafana"])["GF_SECURITY_ADMIN_PASSWORD"] == ""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {("127.0.0.1", "8000")}),
        ({"BIND": "192.0.2.1", "PORT": "80"}, {("192.0.2.1", "80")}),
        ({"TLS": "on"}, {("127.0.0.1", "8000"), ("127.0.0.1", "8080")}),
        (
            {"TLS": "on", "BIND": "192.0.2.1", "PORT": "443", "HTTP_PORT": "80"},
            {("192.0.2.1", "443"), ("192.0.2.1", "80")},
        ),
    ],
)
def test_nginx_is_published_on_bind_and_port(
    environment: dict[str, str], expected: set[tuple[str, str]]
) -> None:
    assert set(published(composition.services(environment)["nginx"])) == expected


def test_the_gateway_is_in_internal_networks_only(services: Services) -> None:
    networks = composition.composition({})["networks"]
    joined = {
        network for name in ("gateway", "models", "keys", "engine") for network in services[name]["networks"]
    }
    assert {network for network in joined if not (networks[network] or {}).get("internal")} == set()


def test_every_model_server_answers_to_the_same_name_behind_one_profile_each(services: Services) -> None:
    profiles = {
        profile: name
        for name, service in services.items()
        for profile in service.get("profiles", [])
        if name not in ONE_SHOT | MONITORING | SHARED
    }
    assert profiles == {
        "": "ollama", "cpu": "ollama", "gpu": "ollama-gpu", "amd": "ollama-amd", "embedded": "engine",
    }  # fmt: skip
    for name in set(profiles.values()):
        assert "model-server" in services[name]["networks"]["models"]["aliases"], name


def test_every_setting_but_those_that_compose_decides_is_passed_through() -> None:
    names = {
        str(field.validation_alias or "GATEWAY_" + name.upper())
        for name, field in Settings.model_fields.items()
    }
    outside = {name: f"what was given as {name}" for name in names}
    inside = composition.variables(composition.services(outside)["gateway"])
    handed_on = {name for name in names & inside.keys() if inside[name] in (None, outside[name])}
    assert handed_on == names - DECIDED
    assert inside["GATEWAY_OLLAMA_URL"] == "http://model-server:11434"


@pytest.mark.parametrize("name", ["gateway", "models"])
def test_gateway_and_pull_get_the_same_models(name: str) -> None:
    inside = composition.variables(composition.services({"MODELS": "qwen3:8b,smollm2"})[name])
    assert inside["GATEWAY_MODELS"] == "qwen3:8b,smollm2"


def test_only_the_keys_service_may_write_the_keys(services: Services) -> None:
    mounts = {
        name: [str(mount) for mount in service.get("volumes", [])] for name, service in services.items()
    }
    writing = {name for name, all_of_it in mounts.items() if "keys:/keys" in all_of_it}
    reading = {name for name, all_of_it in mounts.items() if "keys:/keys:ro" in all_of_it}
    assert (writing, reading) == ({"keys"}, {"gateway"})
    assert services["keys"]["profiles"] == ["keys"]


@pytest.mark.parametrize("bind", [None, "0.0.0.0"])
def test_the_gateways_public_address_is_bind(bind: str | None) -> None:
    inside = composition.variables(composition.services({"BIND": bind} if bind else {})["gateway"])
    assert inside["GATEWAY_PUBLIC_ADDRESS"] == (bind or "127.0.0.1")


@pytest.mark.parametrize("grace", ["30", "120"])
def test_grace_periods_grow_from_gateway_to_docker_to_nginx(grace: str) -> None:
    services = composition.services({"GATEWAY_GRACE": grace})
    gateway, nginx = (seconds(services[name]["stop_grace_period"]) for name in ("gateway", "nginx"))
    # gunicorn takes 5 s more than the grace time.
    assert float(grace) + 5 < gateway < nginx
