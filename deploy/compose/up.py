"""`make up`: starts the stack in containers, waits until it can answer, and shows how to ask it something.

Runs under the system's Python, before anything is installed, so it uses the standard library alone.
"""

import os
import signal
import sys

from deploy.compose.checks.result import fail, report
from deploy.compose.docker_cli import (
    ALL_PROFILES,
    CommandFailed,
    compose,
    list_containers,
    run_in_foreground,
)
from deploy.compose.doctor import after_start, before_start
from deploy.compose.next_steps import show_next_steps
from deploy.compose.readiness import StartFailed, failed_container, wait_until_ready
from deploy.compose.settings import EXTERNAL, Settings, read_settings
from deploy.settings.values import BadSetting
from deploy.terminal.command import INTERRUPTED
from deploy.terminal.messages import say


def start(settings: Settings) -> None:
    """Raises StartFailed, CommandFailed."""
    if not report(before_start(settings), sys.stderr, with_ok=False):
        raise StartFailed("Nothing was started.")
    if others := _of_other_profiles():
        # Built first: if that fails, what is running goes on.
        if run_in_foreground("docker", "compose", "build") != 0:
            raise StartFailed("`docker compose build` failed, see above. What was running still is.")
        say(f"Removing containers of another profile ({', '.join(others)}); pulled models are kept.")
        compose(*ALL_PROFILES, "rm", "--stop", "--force", *others, timeout=300)
    # Compose shows its own progress.
    if run_in_foreground("docker", "compose", "up", "--detach", "--build", "--remove-orphans") != 0:
        raise StartFailed(failed_container(list_containers()) or "`docker compose up` failed, see above.")


def _of_other_profiles() -> list[str]:
    """Services of inactive profiles, which Compose would leave running: they would answer too."""
    there = {container.service for container in list_containers()}
    if not there:
        return []
    known = set(compose(*ALL_PROFILES, "config", "--services").split())
    return sorted((there & known) - set(compose("config", "--services").split()))


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = False
    try:
        settings = read_settings()
        # Compose cannot tell the gateway which profile is active: whether models should be on a GPU, for an
        # alert, and whether there is a Valkey, of which a file may tell from an earlier start.
        os.environ["GATEWAY_GPU_EXPECTED"] = settings.gpu_expected
        os.environ["OLLAMA_URLS"] = settings.ollama_urls
        os.environ["GATEWAY_SHARED_URL_FILE"] = settings.shared_url_file
        start(settings)
        started = True
        wait_until_ready(settings)
        show_next_steps(settings)
        # On a GPU profile the model has to run there; on the CPU there is nothing to check.
        good = settings.profile not in ("gpu", "amd", EXTERNAL) or report(after_start(settings), sys.stderr)
    except BadSetting as error:
        say(fail(str(error), "See .env.example"))
        return 1
    except (StartFailed, CommandFailed) as error:
        say(error)
        return 1
    except KeyboardInterrupt:
        state = "The stack is still starting" if started else "What was started keeps running"
        say(f"\n{state}. make ps and make logs show it, make up waits for it again, make down stops it.")
        return INTERRUPTED
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
