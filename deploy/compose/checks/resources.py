"""Is there room for the chosen models, in memory and on the disk?"""

import os
from collections.abc import Iterator
from pathlib import Path

from containers import CommandFailed, Container, run
from docker_engine import Docker
from environment import MODEL_SERVERS, Settings
from finding import Finding, fail, ok, warn
from model_sizes import GB, estimate

# What the images take beside the models, roughly.
IMAGES = {"cpu": 5 * GB, "gpu": 5 * GB, "amd": 9 * GB, "embedded": 1 * GB}
SMALLER = "Take a smaller one with MODELS= in .env"


def check_memory(
    settings: Settings,
    docker: Docker | None,
    containers: list[Container],
    meminfo: Path = Path("/proc/meminfo"),
) -> Iterator[Finding]:
    """The largest of the models has to fit: Ollama unloads the others when it must."""
    if settings.profile == "embedded":
        return
    yield from _unknown(settings)
    sizes = {model: size.loaded for model in settings.models if (size := estimate(model))}
    if not sizes:
        return
    model = max(sizes, key=sizes.__getitem__)
    need, wants = sizes[model], f"{model} takes about {sizes[model] / GB:.1f} GB of memory (an estimate)"
    total, available = _memory(docker, meminfo)
    running = any(c.service in MODEL_SERVERS.values() and c.running for c in containers)
    if settings.profile == "cpu" and 0 < settings.ollama_memory < need:
        limit = f"Put OLLAMA_MEMORY={need / 2**30 + 1:.0f}g into .env"
        yield fail(f"{wants}, but Ollama may use only {settings.ollama_memory / GB:.1f} GB", limit)
    if settings.profile == "cpu" and total and total < need:
        yield fail(f"{wants}, but the machine has {total / GB:.1f} GB", SMALLER)
    elif available and available < need and not running:
        yield warn(f"{wants}, but only {available / GB:.1f} GB are free", f"End other programs. {SMALLER}")
    elif total:
        yield ok(f"{wants}; the machine has {total / GB:.1f} GB")


def _unknown(settings: Settings) -> Iterator[Finding]:
    names = [model for model in settings.models if estimate(model) is None]
    if names:
        yield warn(f"how large {', '.join(names)} will be cannot be told from the name")


def _memory(docker: Docker | None, meminfo: Path) -> tuple[int, int]:
    """Total and available bytes where the containers run; 0 is unknown."""
    if docker and not docker.is_here:
        return docker.memory, 0
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return _bytes(lines["MemTotal"]), _bytes(lines["MemAvailable"])
    except (OSError, LookupError, ValueError):
        return docker.memory if docker else 0, 0


def _bytes(kibibytes: str) -> int:
    return int(kibibytes.split()[0]) * 1024


def check_disk(settings: Settings, docker: Docker | None) -> Iterator[Finding]:
    if docker is None or not docker.answers:
        return
    try:
        disk = os.statvfs(docker.root_dir) if docker.is_here else None
    except OSError:
        disk = None
    if disk is None:
        yield warn(
            f"Docker's disk ({docker.root_dir}) cannot be seen from here, so nobody knows whether it has room"
        )
        return
    free = disk.f_bavail * disk.f_frsize
    pulled = () if settings.profile == "embedded" else settings.models
    need = IMAGES[settings.profile] + sum(size.file for model in pulled if (size := estimate(model)))
    if free >= need:
        yield ok(f"{free / GB:.0f} GB free at {docker.root_dir}, about {need / GB:.0f} GB are needed at most")
        return
    short = (
        f"images and models take about {need / GB:.0f} GB (an estimate), "
        f"but only {free / GB:.1f} GB are free at {docker.root_dir}"
    )
    room = "Make room: docker system prune, which removes what no container uses"
    if _was_up_before(settings.project) and free > GB:
        yield warn(f"{short}; what is there already is not taken off", room)
    else:
        yield fail(short, f"{room}; or take smaller models with MODELS= in .env")


def _was_up_before(project: str) -> bool:
    """Whether this project has a volume, so that images and models may be there."""
    label = f"label=com.docker.compose.project={project}"
    try:
        return bool(run("docker", "volume", "ls", "--quiet", "--filter", label))
    except CommandFailed:
        return False
