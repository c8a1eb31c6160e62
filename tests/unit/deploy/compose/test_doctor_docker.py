"""Docker itself and the cards that it hands out."""

import json
from pathlib import Path

import pytest

from deploy.compose.checks.docker import check_docker
from deploy.compose.checks.gpu import check_gpu
from deploy.compose.docker_engine import probe
from tests.unit.deploy.compose.machine import PLUGINS, MakeSettings, Program, docker_info, levels_and_text


def plugins(**versions: str) -> dict[str, object]:
    return {"Plugins": [{"Name": name, "Version": version} for name, version in versions.items()]}


def test_all_is_well_with_a_docker_that_is_new_enough(program: Program) -> None:
    assert levels_and_text(check_docker(docker_info(program))) == (
        ["ok", "ok", "ok"],
        "ok    Docker Engine 26.1.5+dfsg1\nok    docker compose 2.26.1-4\nok    docker buildx 0.13.1",
    )


@pytest.mark.usefixtures("program")
def test_a_machine_without_docker_is_told_how_to_get_it() -> None:
    levels, text = levels_and_text(check_docker(probe()))
    assert levels == ["fail"]
    assert "get.docker.com" in text


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            "systemctl start",
        ),
        ("permission denied while trying to connect to the Docker daemon socket", "usermod -aG docker"),
    ],
)
@pytest.mark.parametrize("where", ["on its standard error", "in what it prints"])
def test_a_daemon_that_is_down_is_told_from_one_that_is_out_of_reach(
    program: Program, said: str, mend: str, where: str
) -> None:
    told: dict[str, object] = {"ClientInfo": {"Plugins": PLUGINS}}
    if where == "in what it prints":
        told["ServerErrors"] = [said]
        program("docker", f"echo '{json.dumps(told)}'; exit 1")
    else:
        program("docker", f"echo '{json.dumps(told)}'; echo '{said}' >&2; exit 1")
    levels, text = levels_and_text(check_docker(probe()))
    assert levels == ["fail", "ok", "ok"]
    assert mend in text


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"ServerVersion": "24.0.9"}, "Engine 24.0.9 is too old, 25.0"),
        ({"ClientInfo": plugins(compose="v2.23.3", buildx="1")}, "compose v2.23.3 is too old, 2.24"),
        ({"ClientInfo": plugins(buildx="0.13")}, "no compose plugin"),
        ({"ClientInfo": plugins(compose="5.0.1")}, "no buildx plugin"),
        ({"ServerVersion": None}, "Podman"),
    ],
)
def test_what_is_missing_or_too_old_is_the_one_fail(
    program: Program, changes: dict[str, object], wrong: str
) -> None:
    levels, text = levels_and_text(check_docker(docker_info(program, **changes)))
    assert levels.count("fail") == 1
    assert wrong in text


def test_a_version_without_numbers_is_taken_for_new(program: Program) -> None:
    levels, _ = levels_and_text(check_docker(docker_info(program, ServerVersion="dev")))
    assert levels == ["ok", "ok", "ok"]


def pci_card(root: Path, vendor: str) -> None:
    device = root / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "class").write_text("0x030000\n")
    (device / "vendor").write_text(f"{vendor}\n")


NVIDIA_SMI = "echo 'NVIDIA GeForce RTX 3060, 12288, 550.54.15'"


def gpu(program: Program, settings: MakeSettings, root: Path, **info: object) -> tuple[list[str], str]:
    docker = docker_info(program, **info)
    return levels_and_text(check_gpu(settings(COMPOSE_PROFILES="gpu"), docker, root))


def test_the_cpu_needs_no_card(program: Program, settings: MakeSettings) -> None:
    assert not list(check_gpu(settings(), docker_info(program)))


def test_a_machine_without_a_card_is_sent_to_the_cpu(
    program: Program, settings: MakeSettings, tmp_path: Path
) -> None:
    levels, text = gpu(program, settings, tmp_path)
    assert levels == ["fail", "fail"]
    assert "no NVIDIA card. Use another profile: make up PROFILE=cpu" in text


def test_a_card_without_its_driver_is_told_from_none(
    program: Program, settings: MakeSettings, tmp_path: Path
) -> None:
    pci_card(tmp_path, "0x10de")
    levels, text = gpu(program, settings, tmp_path, Runtimes={"nvidia": {}})
    assert levels == ["fail", "ok"]
    assert "its driver is missing" in text


def test_a_driver_that_fails_is_told_from_a_missing_toolkit(
    program: Program, settings: MakeSettings, tmp_path: Path
) -> None:
    program("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    levels, text = gpu(program, settings, tmp_path, Runtimes={"nvidia": {}})
    assert levels == ["fail", "ok"]
    assert "version mismatch" in text

    program("nvidia-smi", NVIDIA_SMI)
    levels, text = gpu(program, settings, tmp_path)
    assert levels == ["ok", "fail"]
    assert "Install nvidia-container-toolkit" in text


def test_a_toolkit_that_docker_does_not_know_is_only_to_be_set_up(
    program: Program, settings: MakeSettings, tmp_path: Path
) -> None:
    program("nvidia-smi", NVIDIA_SMI)
    program("nvidia-ctk", "exit 0")
    levels, text = gpu(program, settings, tmp_path)
    assert levels == ["ok", "fail"]
    assert "Run: sudo nvidia-ctk runtime configure" in text


@pytest.mark.parametrize(
    "info", [{"Runtimes": {"nvidia": {}}}, {"DiscoveredDevices": [{"ID": "nvidia.com/gpu=all"}]}]
)
def test_a_card_that_docker_can_hand_out_is_named(
    program: Program, settings: MakeSettings, tmp_path: Path, info: dict[str, object]
) -> None:
    program("nvidia-smi", NVIDIA_SMI)
    levels, text = gpu(program, settings, tmp_path, **info)
    assert levels == ["ok", "ok"]
    assert "NVIDIA GeForce RTX 3060, 12288 MiB, driver 550.54.15" in text


def test_a_model_larger_than_the_card_is_announced(
    program: Program, settings: MakeSettings, tmp_path: Path
) -> None:
    program("nvidia-smi", NVIDIA_SMI)
    docker = docker_info(program, Runtimes={"nvidia": {}})
    large = settings(COMPOSE_PROFILES="gpu", MODELS="llama3.3:70b qwen3:4b")
    levels, text = levels_and_text(check_gpu(large, docker, tmp_path))
    assert levels == ["ok", "warn", "ok"]
    assert "llama3.3:70b needs about 43.0 GB" in text


def test_amd_devices_need_their_groups(program: Program, settings: MakeSettings, tmp_path: Path) -> None:
    docker = docker_info(program)
    (tmp_path / "dev/dri").mkdir(parents=True)
    for name in ("kfd", "dri/renderD128", "dri/card0"):
        (tmp_path / "dev" / name).touch()
    gid = (tmp_path / "dev/kfd").stat().st_gid

    strange = settings(COMPOSE_PROFILES="amd", VIDEO_GID=gid + 1, RENDER_GID=gid + 2)
    levels, text = levels_and_text(check_gpu(strange, docker, tmp_path))
    assert levels == ["fail"]
    assert f"Put into .env: RENDER_GID={gid} and VIDEO_GID={gid}" in text

    levels, _ = levels_and_text(check_gpu(settings(COMPOSE_PROFILES="amd", RENDER_GID=gid), docker, tmp_path))
    assert levels == ["ok"]


def test_an_amd_card_without_kfd_lacks_its_driver(
    program: Program, settings: MakeSettings, tmp_path: Path
) -> None:
    docker, amd = docker_info(program), settings(COMPOSE_PROFILES="amd")
    assert "no AMD card" in levels_and_text(check_gpu(amd, docker, tmp_path))[1]
    pci_card(tmp_path, "0x1002")
    assert "modprobe amdgpu" in levels_and_text(check_gpu(amd, docker, tmp_path))[1]


def test_cards_of_another_machine_are_not_guessed_at(program: Program, settings: MakeSettings) -> None:
    levels, text = gpu(program, settings, Path("/"), Name="docker-desktop", Runtimes={"nvidia": {}})
    assert levels == ["warn", "ok"]
    assert "cannot be checked from here" in text
