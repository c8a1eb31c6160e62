"""Who reaches whom: model servers in the stack, and the gateway's way out to those elsewhere."""

import os

import pytest

from tests.processes import ROOT
from tests.static import composition
from tests.static.composition import Service

Services = dict[str, Service]

ELSEWHERE = {"OLLAMA_URLS": "http://gpu1:11434"}


@pytest.fixture(scope="module")
def services() -> Services:
    return composition.services({})


def test_only_for_servers_elsewhere_gateway_and_pull_have_a_way_out(services: Services) -> None:
    def outside(services: Services) -> set[str]:
        return {name for name, service in services.items() if "outside" in service["networks"]}

    assert outside(services) == set()
    assert "extra_hosts" not in services["gateway"]
    with_servers = composition.services(ELSEWHERE)
    assert outside(with_servers) == {"gateway", "models"}
    for name in ("gateway", "models"):
        # All that they are in otherwise, too.
        assert set(with_servers[name]["networks"]) == {*services[name]["networks"], "outside"}
        assert with_servers[name]["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_with_a_way_out_the_gateway_listens_only_where_nginx_and_prometheus_are() -> None:
    gateway = composition.services(ELSEWHERE)["gateway"]
    loopback, *names = str(composition.variables(gateway)["GATEWAY_HOST"]).split(",")
    assert loopback == "127.0.0.1"
    networks = composition.composition(ELSEWHERE)["networks"]
    listening = {
        network
        for network, joined in gateway["networks"].items()
        if set(joined.get("aliases", ())) & set(names)
    }
    assert listening == {"inner", "metrics"}
    assert all(networks[network]["internal"] for network in listening)


def test_each_ollama_listens_at_its_own_address_on_the_gateways_network_only(services: Services) -> None:
    servers = [service for name, service in services.items() if name.startswith("ollama")]
    assert len(servers) == 3
    script = "./deploy/compose/on-model-network.sh:/usr/local/bin/on-model-network:ro"
    for service in servers:
        assert script in service["volumes"]
        assert service["entrypoint"][0] == service["healthcheck"]["test"][1] == script.split(":")[1]
    assert os.access(ROOT / script.split(":")[0], os.X_OK)
