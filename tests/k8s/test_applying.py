"""What the API server says to the manifests, and what it would refuse."""

import json

import pytest

from tests.k8s.cluster import NAMESPACE, kubectl, objects, run
from tests.processes import ROOT

# Kinds that operators bring.
FOREIGN = ("PodMonitor", "PrometheusRule", "HTTPRoute")


def test_everything_applies_without_a_warning(applied: str) -> None:
    lines = applied.splitlines()
    assert len(lines) > 20
    assert [line for line in lines if not line.endswith(" serverside-applied")] == []


def test_pods_that_are_not_restricted_are_refused(stack: None) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "unrestricted"},
        "spec": {"containers": [{"name": "unrestricted", "image": "sluice-gateway:0.1.0"}]},
    }
    refused = run("create", "--dry-run=server", "--filename", "-", given=json.dumps(pod))
    assert refused.returncode != 0
    assert 'violates PodSecurity "restricted' in refused.stderr


@pytest.mark.usefixtures("applied")
def test_the_server_accepts_the_example_for_production() -> None:
    manifests = kubectl("kustomize", str(ROOT / "deploy/kubernetes/overlays/production")).split("\n---\n")
    known = [text for text in manifests if not any(f"\nkind: {kind}\n" in text for kind in FOREIGN)]
    assert len(manifests) - len(known) == 3
    # Namespaces do not exist in a dry run.
    given = "\n---\n".join(known).replace("namespace: sluice\n", f"namespace: {NAMESPACE}\n")
    said = run(
        "apply", "--server-side", "--dry-run=server", "--force-conflicts", "--filename", "-", given=given
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert [line for line in said.stdout.splitlines() if "(server dry run)" not in line] == []
    assert said.stderr == ""


def test_no_container_has_a_service_account_token(stack: None) -> None:
    for pod in objects("pods"):
        mounts = [
            mount["mountPath"] for each in pod["spec"]["containers"] for mount in each.get("volumeMounts", ())
        ]
        assert "/var/run/secrets/kubernetes.io/serviceaccount" not in mounts
