"""What deploy/kubernetes has from elsewhere in the repository is the same file, not a copy."""

from pathlib import Path

import pytest
import yaml

from deploy.kubernetes import rules
from tests.processes import ROOT
from tests.static import checkers, manifests
from tests.static.test_page import SERVED

NGINX = ROOT / "nginx"


def data(overlay: str, name: str) -> dict[str, str]:
    """A generated ConfigMap's content."""
    maps = manifests.of_kind(overlay, "ConfigMap")
    [found] = [each["data"] for full, each in maps.items() if full.startswith(f"{name}-")]
    content: dict[str, str] = found
    return content


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_every_file_of_nginx_is_mounted_where_compose_has_it(overlay: str) -> None:
    spec = manifests.pod_template(manifests.workloads(overlay)["edge"])["spec"]
    maps = {
        volume["name"]: data(overlay, volume["configMap"]["name"].rpartition("-")[0])
        for volume in spec["volumes"]
        if "configMap" in volume
    }
    mounted: dict[str, str] = {}
    for mount in spec["containers"][0]["volumeMounts"]:
        content = maps.get(mount["name"], {})
        if "subPath" in mount:
            mounted[mount["mountPath"]] = content[mount["subPath"]]
        else:
            mounted |= {f"{mount['mountPath']}/{name}": text for name, text in content.items()}
    assert mounted == {str(place): path.read_text() for place, path in expected().items()}


def expected() -> dict[Path, Path]:
    """The files of edge and page by their places in the container."""
    places = {Path("/tmp/html/page") / path.name: path for path in SERVED}
    for path in checkers.repository_files("nginx"):
        name = path.relative_to(NGINX)
        if name.parts[0] == "entrypoint" and name.name[0].isdigit():
            places["/docker-entrypoint.d" / Path(name.name)] = path
        elif name.parts[0] == "entrypoint":
            places["/etc/nginx" / Path(name.name)] = path
        # TLS ends before the edge.
        elif "tls-on" not in name.parts and path.suffix in (".conf", ".template"):
            places["/etc/nginx" / name] = path
    return places


def test_what_the_edge_runs_is_executable() -> None:
    spec = manifests.pod_template(manifests.workloads("try")["edge"])["spec"]
    [volume] = [each for each in spec["volumes"] if each["name"] == "nginx"]
    assert volume["configMap"]["defaultMode"] & 0o111 == 0o111


def test_the_rules_are_generated_from_those_of_prometheus() -> None:
    assert rules.render() == rules.RULES.read_text(), "run: python -m deploy.kubernetes.rules"
    groups = yaml.safe_load(rules.RULES.read_text())["spec"]["groups"]
    sources = [yaml.safe_load((ROOT / source).read_text())["groups"] for source in rules.SOURCES]
    assert groups == [group for source in sources for group in source]
    assert len(sources) == len(list((ROOT / "deploy/prometheus/rules").iterdir()))


def test_prometheus_finds_the_same_jobs_as_with_compose() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]
    monitors = manifests.of_kind("production", "PodMonitor").values()
    jobs = {
        relabeling["replacement"]
        for each in monitors
        for relabeling in each["spec"]["podMetricsEndpoints"][0]["relabelings"]
    }
    assert jobs == {each["job_name"] for each in scraped} - {"prometheus"}


def test_the_dashboard_is_grafanas() -> None:
    found = manifests.of_kind("production", "ConfigMap")["sluice-dashboard"]["data"]
    assert found == {"sluice.json": (ROOT / "deploy/grafana/dashboards/sluice.json").read_text()}
