"""One stack shared by the tests, made from nothing; each test leaves it as it was."""

import os
from collections.abc import Iterator

import pytest

from tests.k8s.cluster import NAMESPACE, OVERLAY, Keys, kubectl, objects, run, wait_pods
from tests.processes import wait_until

READY = {"edge": 2, "gateway": 2, "engine": 1, "valkey": 1, "client": 1}


@pytest.fixture(scope="session", autouse=True)
def _cluster() -> None:
    assert os.environ.get("KUBECONFIG"), (
        "KUBECONFIG is not set: name a cluster that has the images; tests/README.md says how to get one"
    )


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def key(keys: Keys) -> str:
    return keys.create("operator", "--role", "admin")


@pytest.fixture(scope="session")
def applied(keys: Keys, key: str) -> Iterator[str]:
    """What kubectl says while it applies everything."""
    _delete()
    done = run("apply", "--server-side", "--kustomize", str(OVERLAY))
    assert done.returncode == 0, done.stdout + done.stderr
    keys.publish()
    yield done.stdout + done.stderr
    _delete()


@pytest.fixture
def stack(applied: str) -> None:
    for name, count in READY.items():
        wait_pods(name, count)


def _delete() -> None:
    kubectl("delete", "deployments", "--all", "--wait=false")
    # Without the grace of those that drain, which the namespace would wait for: nobody reads their answers.
    wait_until(_no_pods, 60, "all pods are gone")
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=180s")


def _no_pods() -> bool:
    kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    return not objects("pods")
