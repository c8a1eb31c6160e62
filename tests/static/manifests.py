"""deploy/kubernetes as kubectl builds it."""

import subprocess
from functools import cache
from typing import Any

import yaml

from tests.processes import BIN, ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
# Each component once: some exclude each other, or need another.
OVERLAYS = {path.parent.name: path.parent for path in KUBERNETES.glob("overlays/*/kustomization.yaml")}
COMPONENTS = {path.parent.name: path.parent for path in KUBERNETES.glob("components/*/kustomization.yaml")}

Object = dict[str, Any]


@cache
def built(overlay: str) -> list[Object]:
    """All objects of an overlay."""
    done = subprocess.run(
        [BIN / "kubectl", "kustomize", OVERLAYS[overlay]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def all_objects() -> list[tuple[str, Object]]:
    """Those of all overlays, with a name for each."""
    return [
        (f"{overlay}: {each['kind']} {each['metadata']['name']}", each)
        for overlay in OVERLAYS
        for each in built(overlay)
    ]


def of_kind(overlay: str, kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in built(overlay) if each["kind"] == kind}


def pod_template(workload: Object) -> Object:
    spec: Object = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Object = spec["template"]
    return template


def workloads(overlay: str) -> dict[str, Object]:
    """What runs pods, by name."""
    return {
        each["metadata"]["name"]: each
        for each in built(overlay)
        if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
    }


def containers(template: Object) -> list[Object]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def settings(overlay: str) -> dict[str, str]:
    """The stack's settings, from the ConfigMap whose name begins with `settings-`."""
    maps = of_kind(overlay, "ConfigMap")
    [found] = [each["data"] for name, each in maps.items() if name.startswith("settings-")]
    data: dict[str, str] = found
    return data
