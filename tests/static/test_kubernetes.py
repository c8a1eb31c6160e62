"""Every pod in deploy/kubernetes is hardened, healthy to watch, and stopped without losing a stream."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.processes import ROOT
from tests.static import composition, manifests
from tests.static.manifests import COMPONENTS, KUBERNETES, OVERLAYS, Object

# The oldest that has every field, and one that the tests in a cluster use.
VERSIONS = ("1.30", "1.34")
# Kinds that operators bring, of which the package has no schema.
FOREIGN = {"PodMonitor", "PrometheusRule", "HTTPRoute"}
WORKLOADS = [
    (f"{overlay} {name}", workload)
    for overlay in OVERLAYS
    for name, workload in manifests.workloads(overlay).items()
]
EVERY = [pytest.param(workload, id=name) for name, workload in WORKLOADS]
SERVING = [pytest.param(each, id=name) for name, each in WORKLOADS if each["kind"] != "CronJob"]
COMPOSE = composition.services({})


def pod_spec(workload: Object) -> Object:
    spec: Object = manifests.pod_template(workload)["spec"]
    return spec


def pre_stop(container: Object) -> Object:
    found: Object = container.get("lifecycle", {}).get("preStop", {})
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", [pytest.param(each, id=name) for name, each in manifests.all_objects()])
def test_every_object_is_valid(manifest: Object, version: str) -> None:
    if manifest["kind"] in FOREIGN:
        assert manifest["apiVersion"].partition("/")[0].count(".") >= 2
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_every_component_is_part_of_an_overlay() -> None:
    listed = {
        (path / component).resolve()
        for path in OVERLAYS.values()
        for component in yaml.safe_load((path / "kustomization.yaml").read_text())["components"]
    }
    # An alternative to `ingress`, which the example for production names beside it.
    assert {name for name, path in COMPONENTS.items() if path not in listed} == {"gateway-api"}
    assert "../../components/gateway-api" in (OVERLAYS["production"] / "kustomization.yaml").read_text()


def test_the_namespace_refuses_pods_that_are_not_restricted() -> None:
    for overlay in OVERLAYS:
        [namespace] = manifests.of_kind(overlay, "Namespace").values()
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("workload", EVERY)
def test_every_pod_is_hardened(workload: Object) -> None:
    spec = pod_spec(workload)
    assert spec["automountServiceAccountToken"] is False
    # A Service's variables would set GATEWAY_PORT to an address.
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in manifests.containers(manifests.pod_template(workload)):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        # It would slow streams down although the machine is idle.
        assert "cpu" not in container["resources"]["limits"]


@pytest.mark.parametrize("workload", SERVING)
def test_every_pod_that_serves_is_watched_and_may_be_moved_one_at_a_time(workload: Object) -> None:
    [container] = pod_spec(workload)["containers"]
    assert {"readinessProbe", "livenessProbe"} <= container.keys()
    # Ready again soon, killed only if it is stuck.
    watched = [container[probe] for probe in ("readinessProbe", "livenessProbe")]
    patience = [
        probe["periodSeconds"] * probe["failureThreshold"] for probe in watched if "failureThreshold" in probe
    ]
    assert patience[-1] >= 60
    strategy = workload["spec"].get("strategy", {})
    if workload["kind"] == "Deployment" and strategy.get("type") != "Recreate":
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_of_what_serves_streams_has_a_disruption_budget(overlay: str) -> None:
    budgets = manifests.of_kind(overlay, "PodDisruptionBudget").values()
    covered = {each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] for each in budgets}
    serving = {name for name, each in manifests.workloads(overlay).items() if each["kind"] != "CronJob"}
    assert covered == serving - {"valkey"}
    assert {each["spec"]["maxUnavailable"] for each in budgets} == {1}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_part_of_the_chain_stops_later_than_the_one_before(overlay: str) -> None:
    workloads = manifests.workloads(overlay)
    grace = int(manifests.settings(overlay)["GATEWAY_GRACE"])
    gunicorn = grace + 5

    def chain(name: str) -> tuple[int, int]:
        spec = pod_spec(workloads[name])
        return pre_stop(spec["containers"][0])["sleep"]["seconds"], spec["terminationGracePeriodSeconds"]

    leaving, killed = chain("gateway")
    assert leaving > 30  # the age that the cluster's DNS may have
    assert killed >= leaving + gunicorn + 5
    # Both may be stopped at once, and nginx has to pass on the gateway's last events.
    assert chain("edge")[1] >= leaving + grace + 15
    for name in workloads.keys() & {"ollama", "engine"}:
        assert (
            pre_stop(pod_spec(workloads[name])["containers"][0])["exec"]["command"][-1] == "/drain/drain.sh"
        )
        assert pod_spec(workloads[name])["terminationGracePeriodSeconds"] >= grace + 60


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_mounted_as_folders_so_that_changes_arrive(overlay: str) -> None:
    mounted = 0
    for workload in manifests.workloads(overlay).values():
        spec = pod_spec(workload)
        secrets = {volume["name"] for volume in spec.get("volumes", ()) if "secret" in volume}
        for container in spec["containers"]:
            mounts = [mount for mount in container.get("volumeMounts", ()) if mount["name"] in secrets]
            assert [mount for mount in mounts if "subPath" in mount] == []
            mounted += len(mounts)
            assert "secretRef" not in str(container.get("envFrom", ()))
            assert "secretKeyRef" not in str(container.get("env", ()))
    assert mounted


@pytest.mark.parametrize(
    ("workload", "container", "service"),
    [
        ("edge", "nginx", "nginx"),
        ("edge", "exporter", "nginx-exporter"),
        ("gateway", "gateway", "gateway"),
        ("models", "models", "models"),
        ("ollama", "ollama", "ollama"),
        ("engine", "engine", "engine"),
        ("valkey", "valkey", "valkey"),
    ],
)
def test_images_users_and_memory_are_those_of_compose(workload: str, container: str, service: str) -> None:
    overlay = "try" if workload == "engine" else "production"
    template = manifests.pod_template(manifests.workloads(overlay)[workload])
    [found] = [each for each in manifests.containers(template) if each["name"] == container]
    here, there = found["image"].rpartition("/")[2], COMPOSE[service]["image"].rpartition("/")[2]
    assert here == there.removeprefix("sluice-" if service == "ollama" else "")
    assert megabytes(found["resources"]["limits"]["memory"]) == megabytes(COMPOSE[service]["mem_limit"])


def megabytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([mg])i?", text.lower())
    assert match
    return int(match[1]) * {"m": 1, "g": 1024}[match[2]]


def test_the_models_are_those_of_compose() -> None:
    component = yaml.safe_load((COMPONENTS["ollama"] / "kustomization.yaml").read_text())
    [merged] = [each["literals"] for each in component["configMapGenerator"] if "literals" in each]
    assert merged == [f"GATEWAY_MODELS={composition.variables(COMPOSE['gateway'])['GATEWAY_MODELS']}"]


def test_autoscalers_ask_for_metrics_that_the_adapter_has_and_the_gateway_sends() -> None:
    adapter = yaml.safe_load((KUBERNETES / "components/autoscaling/prometheus-adapter.yaml").read_text())
    rules = [*adapter["rules"]["custom"], *adapter["rules"]["external"]]
    series = {rule.get("name", {}).get("as", name_of(rule)): name_of(rule) for rule in rules}
    asked: dict[str, Any] = {}
    for autoscaler in manifests.of_kind("production", "HorizontalPodAutoscaler").values():
        for metric in autoscaler["spec"]["metrics"]:
            for source in ("pods", "external"):
                if source in metric:
                    asked[metric[source]["metric"]["name"]] = source
    assert asked.keys() == series.keys()
    table = (ROOT / "services/gateway/README.md").read_text()
    assert [name for name in series.values() if f"\n| `{name}` | gauge |" not in table] == []


def name_of(rule: Object) -> str:
    name: str = rule["seriesQuery"].partition("{")[0]
    return name


@pytest.mark.parametrize("name", ["gateway", "edge"])
def test_what_an_autoscaler_decides_is_not_undone_by_applying_again(name: str) -> None:
    assert "replicas" not in manifests.workloads("production")[name]["spec"]
    assert "replicas" not in manifests.workloads("production")["ollama"]["spec"]
