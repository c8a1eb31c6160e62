"""Can the model server use the graphics card that the profile asks for?"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from deploy.compose.checks.result import Result, fail, ok, warn
from deploy.compose.docker_cli import CommandFailed, run
from deploy.compose.docker_engine import Docker
from deploy.compose.model_sizes import GB, estimate
from deploy.compose.settings import Settings

CONFIGURE = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
INSTALL_TOOLKIT = (
    "Install nvidia-container-toolkit (https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/), "
    f"then: {CONFIGURE}"
)
NVIDIA, AMD = "0x10de", "0x1002"  # on the PCI bus


def check_gpu(settings: Settings, docker: Docker | None, root: Path = Path("/")) -> Iterator[Result]:
    """`root` is where /dev and /sys are."""
    if settings.profile not in ("gpu", "amd"):
        return
    if docker and not docker.is_here:
        yield warn(
            f"Docker runs elsewhere ({docker.system}), so its graphics card cannot be checked from here"
        )
    elif settings.profile == "gpu":
        yield from _nvidia_driver(settings, root)
    else:
        yield from _amd_devices(settings, root)
    if settings.profile == "gpu" and docker and docker.answers:
        yield _nvidia_toolkit(docker)


def _nvidia_driver(settings: Settings, root: Path) -> Iterator[Result]:
    if shutil.which("nvidia-smi") is None:
        if _has_card(root, NVIDIA):
            yield fail(
                "there is an NVIDIA card, but its driver is missing (no nvidia-smi)",
                "Install it, then restart the machine: sudo ubuntu-drivers install (Ubuntu), "
                "sudo apt install nvidia-driver (Debian)",
            )
        else:
            yield fail("this machine has no NVIDIA card", "Use another profile: make up PROFILE=cpu")
        return
    query = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
    try:
        cards = [line.split(", ") for line in run("nvidia-smi", *query).splitlines() if line.count(", ") == 2]
    except CommandFailed as failed:
        yield fail(
            f"NVIDIA's driver does not work: {failed}",
            "Restart the machine: sudo reboot. After an update the old driver stays loaded until then",
        )
        return
    for name, memory, driver in cards:
        yield ok(f"NVIDIA {name.removeprefix('NVIDIA ')}, {memory} MiB, driver {driver}")
    on_cards = sum(int(memory) for _, memory, _ in cards if memory.isdecimal()) * 2**20
    for model in settings.models:
        size = estimate(model)
        if size and 0 < on_cards < size.loaded:
            yield warn(
                f"{model} needs about {size.loaded / GB:.1f} GB (an estimate), more than the card has: "
                "part of it will run on the CPU",
                "Choose a smaller one with MODELS= in .env",
            )


def _nvidia_toolkit(docker: Docker) -> Result:
    if "nvidia" in docker.runtimes or any(device.startswith("nvidia.com/") for device in docker.cdi_devices):
        return ok("Docker can give containers the NVIDIA card")
    if docker.is_here and shutil.which("nvidia-container-runtime-hook"):
        # Docker looks for the hook when it starts; whether it has started since is unknown.
        return warn(
            "NVIDIA's container toolkit is installed, but Docker is not set up for it", f"Run: {CONFIGURE}"
        )
    if docker.is_here and shutil.which("nvidia-ctk"):
        return fail("Docker is not set up for NVIDIA's container toolkit", f"Run: {CONFIGURE}")
    return fail(
        "Docker cannot give containers the NVIDIA card: NVIDIA's container toolkit is missing",
        INSTALL_TOOLKIT,
    )


def _amd_devices(settings: Settings, root: Path) -> Iterator[Result]:
    if not (root / "dev/kfd").exists():
        if _has_card(root, AMD):
            yield fail(
                "there is an AMD card, but no /dev/kfd: the amdgpu driver is not loaded",
                "Load it: sudo modprobe amdgpu; if that fails, https://rocm.docs.amd.com/projects/install-on-linux/",
            )
        else:
            yield fail("this machine has no AMD card", "Use another profile: make up PROFILE=cpu")
        return
    nodes = sorted((root / "dev/dri").glob("renderD*"))
    if not nodes:
        yield fail(
            "there is a /dev/kfd, but no /dev/dri/renderD*", "Load the driver again: sudo modprobe amdgpu"
        )
        return
    cards = sorted((root / "dev/dri").glob("card*"))
    needed = {
        "RENDER_GID": {node.stat().st_gid for node in (root / "dev/kfd", *nodes)},
        "VIDEO_GID": {card.stat().st_gid for card in cards},
    }
    given = set(settings.device_gids.values())
    lines = [f"{name}={min(gids - given)}" for name, gids in needed.items() if gids - given]
    if lines:
        yield fail(
            "the container would not be in the groups that own /dev/kfd and /dev/dri",
            f"Put into .env: {' and '.join(lines)}",
        )
    else:
        yield ok("/dev/kfd and /dev/dri are there, and the container is in their groups")


def _has_card(root: Path, vendor: str) -> bool:
    """Whether a display controller of this vendor is on the PCI bus."""
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            is_display = (device / "class").read_text().startswith("0x03")
            if is_display and (device / "vendor").read_text().strip() == vendor:
                return True
        except OSError:
            continue
    return False
