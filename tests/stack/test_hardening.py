"""What the running containers may do, according to kernel and Docker, and who can reach them."""

import socket

import pytest

from tests.stack.containers import GATEWAY_IMAGE, Containers, docker, inspect, reaches

SERVICES = ("nginx", "gateway", "engine")
MEGABYTE = 1_000_000


@pytest.fixture(params=SERVICES)
def container(request: pytest.FixtureRequest, stack: Containers) -> str:
    return stack.containers(request.param)[0]


def status(container: str) -> dict[str, str]:
    """/proc/1/status of the container's main process."""
    lines = docker("exec", container, "cat", "/proc/1/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_no_process_is_root_or_has_a_capability_or_can_get_one(container: str) -> None:
    got = status(container)
    assert "0" not in got["Uid"].split() + got["Gid"].split()
    assert {got[kind] for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert got["NoNewPrivs"] == "1"


def test_the_root_file_system_is_read_only(container: str) -> None:
    mounts = docker("exec", container, "cat", "/proc/1/mounts").splitlines()
    [options] = [mount.split()[3] for mount in mounts if mount.split()[1] == "/"]
    assert "ro" in options.split(",")


def test_memory_processes_and_logs_are_limited(container: str) -> None:
    limits = inspect(container)["HostConfig"]
    assert limits["Memory"] > 0
    assert limits["PidsLimit"] > 0
    assert {"max-size", "max-file"} <= set(limits["LogConfig"]["Config"])


def test_each_may_open_enough_files_and_queue_enough_connections(container: str) -> None:
    limits = docker("exec", container, "cat", "/proc/1/limits").splitlines()
    [files] = [line.split()[3:5] for line in limits if line.startswith("Max open files")]
    assert files == ["16384", "16384"]
    assert int(docker("exec", container, "cat", "/proc/sys/net/core/somaxconn")) >= 4096


def test_docker_waits_longer_than_the_gateway_takes_to_drain(stack: Containers) -> None:
    grace = 30
    waits = {one: inspect(stack.containers(one)[0])["Config"]["StopTimeout"] for one in SERVICES}
    assert grace + 5 < waits["gateway"] < waits["nginx"]


def test_only_nginx_publishes_a_port_and_only_on_loopback(stack: Containers) -> None:
    published = {
        one: [
            binding["HostIp"]
            for bindings in inspect(stack.containers(one)[0])["NetworkSettings"]["Ports"].values()
            for binding in bindings or []
        ]
        for one in SERVICES
    }
    assert published == {"nginx": ["127.0.0.1"], "gateway": [], "engine": []}


def test_the_host_reaches_only_the_published_port(stack: Containers) -> None:
    gateway, engine = (stack.containers(one)[0] for one in ("gateway", "engine"))
    port = int(stack.url.rpartition(":")[2])
    assert reaches(f"{stack.url}/healthz", "--network", "host")
    for network in ("inner", "models", "metrics"):
        assert not reaches(f"http://{stack.address(gateway, network)}:8001/healthz", "--network", "host")
    assert not reaches(f"http://{stack.address(engine, 'models')}:11434/api/version", "--network", "host")
    for other in (8001, 11434):
        assert not reaches(f"http://127.0.0.1:{other}/", "--network", "host")
    # The host's address in the network, if it has one.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        assert not reaches(f"http://{probe.getsockname()[0]}:{port}/healthz", "--network", "host")


def test_nginxs_network_does_not_reach_the_gateway_directly(stack: Containers) -> None:
    gateway, engine, nginx = (stack.containers(one)[0] for one in ("gateway", "engine", "nginx"))
    beside = ("--network", stack.network("edge"))
    assert reaches(f"http://{stack.address(nginx, 'edge')}:8000/healthz", *beside)
    assert not reaches(f"http://{stack.address(gateway, 'inner')}:8001/healthz", *beside)
    assert not reaches(f"http://{stack.address(engine, 'models')}:11434/api/version", *beside)


def test_nginx_itself_reaches_the_gateway_and_not_the_engine(stack: Containers) -> None:
    gateway, engine, nginx = (stack.containers(one)[0] for one in ("gateway", "engine", "nginx"))
    inside = ("--network", f"container:{nginx}")
    assert reaches(f"http://{stack.address(gateway, 'inner')}:8001/healthz", *inside)
    assert not reaches(f"http://{stack.address(engine, 'models')}:11434/api/version", *inside)


@pytest.mark.parametrize("service", ["gateway", "engine"])
def test_gateway_and_engine_cannot_reach_the_internet(stack: Containers, service: str) -> None:
    container = stack.containers(service)[0]
    routes = docker("exec", container, "cat", "/proc/net/route").splitlines()[1:]
    assert not [route for route in routes if route.split()[1] == "00000000"], "there is a default route"


@pytest.mark.parametrize("service", ["gateway", "engine"])
def test_images_have_neither_pip_nor_a_compiler(stack: Containers, service: str) -> None:
    programs = "[name for name in ('pip', 'pip3', 'gcc', 'cc', 'make') if shutil.which(name)]"
    code = f"import shutil, importlib.util; print({programs}, importlib.util.find_spec('pip'))"
    for python in ("python", "/usr/bin/env -i PATH=/usr/local/bin:/usr/bin python3"):
        assert docker("exec", stack.containers(service)[0], *python.split(), "-c", code) == "[] None"


def test_the_gateways_image_is_at_most_60_mb_above_its_base() -> None:
    sizes = [
        int(docker("image", "inspect", "-f", "{{.Size}}", name))
        for name in (GATEWAY_IMAGE, "python:3.13-slim-trixie")
    ]
    print(f"{(sizes[0] - sizes[1]) / MEGABYTE:.1f} MB")
    assert sizes[0] - sizes[1] <= 60 * MEGABYTE
