"""Is there room for the chosen models, in memory and on disk?"""

import os
from collections.abc import Iterator
from pathlib import Path

from deploy.compose.checks.result import Result, fail, ok, warn
from deploy.compose.docker_cli import CommandFailed, Container, run
from deploy.compose.docker_engine import Docker
from deploy.compose.model_sizes import GB, estimate
from deploy.compose.settings import EXTERNAL, MODEL_SERVERS, Settings

# Roughly what the images take, without the models.
IMAGES = {"cpu": 5 * GB, "gpu": 5 * GB, "amd": 9 * GB, "embedded": 1 * GB, EXTERNAL: 1 * GB}
# Nothing is pulled, or not here.
WITHOUT_MODELS = ("embedded", EXTERNAL)
SMALLER = "Choose a smaller one with MODELS= in .env"


def check_memory(
    settings: Settings,
    docker: Docker | None,
    containers: list[Container],
    meminfo: Path = Path("/proc/meminfo"),
) -> Iterator[Result]:
    """The largest model has to fit: Ollama unloads the others when it must."""
    if settings.profile in WITHOUT_MODELS:
        return
    yield from _unknown_sizes(settings)
    sizes = {model: size.loaded for model in settings.models if (size := estimate(model))}
    if not sizes:
        return
    model = max(sizes, key=sizes.__getitem__)
    need, demand = sizes[model], f"{model} needs about {sizes[model] / GB:.1f} GB of memory (an estimate)"
    total, available = _memory(docker, meminfo)
    running = any(c.service in MODEL_SERVERS.values() and c.running for c in containers)
    if settings.profile == "cpu" and 0 < settings.ollama_memory < need:
        limit = f"Put OLLAMA_MEMORY={need / 2**30 + 1:.0f}g into .env"
        yield fail(f"{demand}, but Ollama may use only {settings.ollama_memory / GB:.1f} GB", limit)
    if settings.profile == "cpu" and total and total < need:
        yield fail(f"{demand}, but the machine has {total / GB:.1f} GB", SMALLER)
    elif available and available < need and not running:
        yield warn(f"{demand}, but only {available / GB:.1f} GB are free", f"Close other programs. {SMALLER}")
    elif total:
        yield ok(f"{demand}; the machine has {total / GB:.1f} GB")


def _unknown_sizes(settings: Settings) -> Iterator[Result]:
    names = [model for model in settings.models if estimate(model) is None]
    if names:
        yield warn(f"the name does not say how large {', '.join(names)} will be")


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


def check_disk(settings: Settings, docker: Docker | None) -> Iterator[Result]:
    if docker is None or not docker.answers:
        return
    try:
        disk = os.statvfs(docker.root_dir) if docker.is_here else None
    except OSError:
        disk = None
    if disk is None:
        yield warn(
            f"Docker's disk ({docker.root_dir}) cannot be seen from here, so its free space is unknown"
        )
        return
    free = disk.f_bavail * disk.f_frsize
    pulled = () if settings.profile in WITHOUT_MODELS else settings.models
    need = IMAGES[settings.profile] + sum(size.file for model in pulled if (size := estimate(model)))
    if free >= need:
        yield ok(f"{free / GB:.0f} GB free at {docker.root_dir}; at most about {need / GB:.0f} GB are needed")
        return
    short = (
        f"images and models need about {need / GB:.0f} GB (an estimate), "
        f"but only {free / GB:.1f} GB are free at {docker.root_dir}"
    )
    room = "Free some space: docker system prune, which removes everything that no container uses"
    if _was_up_before(settings.project) and free > GB:
        yield warn(f"{short}; what has been pulled already is not subtracted", room)
    else:
        yield fail(short, f"{room}; or choose smaller models with MODELS= in .env")


def _was_up_before(project: str) -> bool:
    """Whether this project has a volume, so that images and models may be there already."""
    label = f"label=com.docker.compose.project={project}"
    try:
        return bool(run("docker", "volume", "ls", "--quiet", "--filter", label))
    except CommandFailed:
        return False
