"""Who may reach whom in the cluster: what Compose's networks allow, and no more."""

from typing import Any

import pytest

from tests.static import composition, manifests

Labels = dict[str, str]

# Each pod's service in Compose.
SERVICES = {
    "edge": "nginx",
    "gateway": "gateway",
    "ollama": "ollama",
    "engine": "engine",
    "models": "models",
    "valkey": "valkey",
    "prometheus": "prometheus",
}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}


def pods(overlay: str) -> dict[str, Labels]:
    found = manifests.workloads(overlay)
    return {name: manifests.pod_template(each)["metadata"]["labels"] for name, each in found.items()}


def selects(selector: dict[str, Any], labels: Labels) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    listed = selector.get("matchExpressions", ())
    assert all(each["operator"] == "In" for each in listed)
    return wanted <= labels.items() and all(labels.get(each["key"]) in each["values"] for each in listed)


def policies(overlay: str, labels: Labels, direction: str) -> list[dict[str, Any]]:
    """The specifications of those that apply to a pod."""
    found = manifests.of_kind(overlay, "NetworkPolicy").values()
    specs = [each["spec"] for each in found]
    return [s for s in specs if direction in s["policyTypes"] and selects(s["podSelector"], labels)]


def admits(rule: dict[str, Any], side: str, labels: Labels, outside: bool) -> bool:
    """Whether a rule is about a pod with these labels; one from another namespace if it is `outside`."""
    if side not in rule:
        return True
    return any(
        ("namespaceSelector" in peer) == outside and selects(peer["podSelector"], labels)
        for peer in rule[side]
        if "podSelector" in peer
    )


def ports(pod: str, overlay: str) -> dict[str, int]:
    containers = manifests.containers(manifests.pod_template(manifests.workloads(overlay)[pod]))
    return {
        port["name"]: port["containerPort"] for container in containers for port in container.get("ports", ())
    }


def reached(overlay: str) -> set[tuple[str, str, int]]:
    """From whom, to whom, at which port."""
    everyone = pods(overlay)
    found = set()
    for target, labels in everyone.items():
        named = ports(target, overlay)
        assert policies(overlay, labels, "Ingress")
        for source, others in {**everyone, "prometheus": PROMETHEUS}.items():
            outside = source not in everyone
            for policy in policies(overlay, labels, "Ingress"):
                for rule in policy.get("ingress", ()):
                    if not admits(rule, "from", others, outside):
                        continue
                    for port in rule["ports"]:
                        number = named.get(port["port"], port["port"])
                        if number in named.values() and (outside or leaves(overlay, others, labels, number)):
                            found.add((source, target, number))
    return found


def leaves(overlay: str, source: Labels, target: Labels, port: int) -> bool:
    return any(
        admits(rule, "to", target, False) and {"port": port} in rule["ports"]
        for policy in policies(overlay, source, "Egress")
        for rule in policy.get("egress", ())
    )


WANTED = {
    "try": {("edge", "gateway", 8001), ("gateway", "engine", 11434)},
    "production": {
        ("edge", "gateway", 8001),
        ("gateway", "ollama", 11434),
        ("gateway", "valkey", 6379),
        ("models", "ollama", 11434),
        ("prometheus", "edge", 9113),
        ("prometheus", "gateway", 8001),
        # Like everybody.
        ("prometheus", "edge", 8000),
    },
}


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_pods_reach_whom_they_need_and_nobody_else(overlay: str) -> None:
    assert reached(overlay) == WANTED[overlay]


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_no_two_reach_each_other_that_share_no_network_in_compose(overlay: str) -> None:
    services = composition.services({})

    def networks(pod: str) -> set[str]:
        return set(services[SERVICES[pod]]["networks"])

    pairs = {
        (source, target) for source, target, _ in reached(overlay) if {source, target} <= SERVICES.keys()
    }
    assert pairs
    # Compose runs the exporter as a service of its own.
    assert [pair for pair in pairs if not networks(pair[0]) & networks(pair[1])] == []


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_only_ollama_gets_out_of_the_cluster_and_nothing_in_it_is_reached_that_way(overlay: str) -> None:
    out = {}
    for name, labels in pods(overlay).items():
        rules = [rule for each in policies(overlay, labels, "Egress") for rule in each.get("egress", ())]
        blocks = [peer["ipBlock"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]
        wide = [block for block in blocks if block["cidr"].endswith("/0")]
        if wide:
            out[name] = wide
    assert out.keys() == pods(overlay).keys() & {"ollama"}
    for block in out.get("ollama", ()):
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} & set(block["except"])


def test_to_try_it_without_keys_one_has_to_be_in_the_namespace() -> None:
    assert manifests.settings("try")["GATEWAY_PUBLIC_ADDRESS"] == "127.0.0.1"
    assert manifests.of_kind("try", "NetworkPolicy")["edge"]["spec"]["ingress"] == [
        {"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}
    ]
    assert manifests.settings("production")["GATEWAY_PUBLIC_ADDRESS"] == "0.0.0.0"
