"""`make up`: starts the stack in containers, waits until it can answer, and says how to ask it something.

Runs under the system's Python, before anything is installed, so it uses the standard library alone.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pull_log
from containers import ALL_PROFILES, CommandFailed, Container, compose, last_lines, list_containers
from doctor import after_start, before_start
from environment import LOOPBACK, ROOT, BadSetting, Settings, read_settings
from finding import fail, report
from public_port import NoAnswer, ask, certificate_is_trusted
from status_line import StatusLine
from telling import say

LOOK_EVERY = 1.0
STUCK_SECONDS = 600  # in which neither anything became ready nor a pull was under way


class StartFailed(Exception):
    """The stack does not come up by itself; the message says what is wrong and shows the log."""


def start(settings: Settings) -> None:
    """Raises StartFailed, CommandFailed."""
    if not report(before_start(settings), sys.stderr, with_ok=False):
        raise StartFailed("Nothing was started.")
    if others := _of_other_profiles():
        # Built beforehand, so that what runs goes on running when that fails.
        if _run_in_foreground("docker", "compose", "build") != 0:
            raise StartFailed(
                "`docker compose build` failed; it has said why above. What runs was left alone."
            )
        say(f"removing what another profile has started ({', '.join(others)}); pulled models are kept")
        compose(*ALL_PROFILES, "rm", "--stop", "--force", *others, timeout=300)
    # Its own progress is better than anything that could be made of it.
    if _run_in_foreground("docker", "compose", "up", "--detach", "--build", "--remove-orphans") != 0:
        raise StartFailed(
            _what_is_wrong(list_containers()) or "`docker compose up` failed; it has said why above."
        )


def _of_other_profiles() -> list[str]:
    """Services that Compose would leave running, since their profile is not active: they answer too."""
    there = {container.service for container in list_containers()}
    if not there:
        return []
    known = set(compose(*ALL_PROFILES, "config", "--services").split())
    return sorted((there & known) - set(compose("config", "--services").split()))


def _run_in_foreground(*command: str) -> int:
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal's Ctrl-C reached it too; cut off in the middle it would leave half of its work.
            process.wait()
            raise


def wait_until_ready(settings: Settings, look_every: float = LOOK_EVERY) -> None:
    """Raises StartFailed."""
    status = StatusLine()
    restarting: set[str] = set()
    good_until = time.monotonic() + STUCK_SECONDS
    while (missing := _missing(settings)) is not None:
        containers = list_containers()
        if wrong := _what_is_wrong(containers, restarting):
            status.end()
            raise StartFailed(f"{wrong}\n\nNot ready: {missing}. The containers are left as they are.")
        restarting |= {container.name for container in containers if container.state == "restarting"}
        pull = _pull(containers)
        if pull and pull.advances:
            good_until = time.monotonic() + STUCK_SECONDS
        if time.monotonic() > good_until:
            status.end()
            raise StartFailed(
                f"Not ready: {missing}. Nothing has moved for {STUCK_SECONDS // 60} minutes; look: make logs"
            )
        status.show(pull.words if pull and pull.words else missing)
        time.sleep(look_every)
    status.end()


def _missing(settings: Settings) -> str | None:
    """What the stack lacks before it can answer; None when it lacks nothing."""
    try:
        code, answer = ask(settings, "/readyz")
    except NoAnswer:
        return "nginx does not answer yet"
    if code == 200:
        return None
    return str(answer.get("missing") or f"the gateway does not answer yet (status {code})")


def _pull(containers: list[Container]) -> pull_log.Line | None:
    """The last word of the one-shot that pulls the models, while it runs."""
    if not any(container.service == pull_log.SERVICE and container.running for container in containers):
        return None
    lines = last_lines(pull_log.SERVICE, 1)
    return pull_log.read(lines[-1]) if lines else None


def _what_is_wrong(
    containers: list[Container], restarting: set[str] | frozenset[str] = frozenset()
) -> str | None:
    """The first container that won't come up by itself, with its last words.

    `restarting` has those that were seen so before: once is no harm, Docker is there to mend it.
    """
    for container in containers:
        if container.service == pull_log.SERVICE:
            # It may restart as often as it likes, and ends when it has nothing left to do.
            wrong = "has ended" if container.state == "exited" and container.exit_code else ""
        elif container.state in ("exited", "dead"):
            wrong = f"has ended with status {container.exit_code}"
        elif container.state == "restarting" and container.name in restarting:
            wrong = f"ends and is restarted again and again (status {container.exit_code})"
        else:
            wrong = "is not healthy" if container.health == "unhealthy" else ""
        if wrong:
            return "\n".join([f"{container.service} {wrong}. Its log ends so:", "", *_log(container.service)])
    return None


def _log(service: str) -> list[str]:
    lines = last_lines(service, 15)
    if service == pull_log.SERVICE:
        lines = [pull_log.read(line).words for line in lines]
    return [f"  {line}" for line in lines] or ["  (it is empty)"]


def tell(settings: Settings) -> None:
    """Where the stack is, how to ask it, and what is still to come."""
    containers = list_containers()
    pull = _pull(containers)
    if pull and pull.words:
        say(f"Not all models are there yet: {pull.words}\nTo follow them: make logs SERVICE=models")
    elif any(c.service == pull_log.SERVICE and c.exit_code for c in containers):
        say("Not all models could be pulled:")
        say("\n".join(_log(pull_log.SERVICE)[-3:]))
    body = {"model": _a_model(settings), "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    curl = [
        "curl",
        "-N",
        *_trust(settings),
        *_credential(settings),
        f"{settings.url}/chat",
        "-d",
        json.dumps(body),
    ]
    say(f"\nThe stack is up at {settings.url}. Ask it something:\n\n  {shlex.join(curl)}\n")
    if settings.monitoring:
        say(
            f"Its dashboard: http://{LOOPBACK}:{settings.grafana_port} (user admin, GRAFANA_PASSWORD); "
            f"its alerts: http://{LOOPBACK}:{settings.prometheus_port}/alerts\n"
        )
    say("make logs shows what it does, make doctor whether all is well, make down stops it.\n")


def _a_model(settings: Settings) -> str:
    """One that can chat: the first that was wished for, or else the first that there is."""
    try:
        names = [str(model["name"]) for model in ask(settings, "/api/tags")[1]["models"]]
    except (NoAnswer, LookupError, TypeError):
        names = []
    wished = [name for name in settings.models if name in names]
    return next((name for name in (*wished, *names) if _can_chat(settings, name)), "MODEL")


def _can_chat(settings: Settings, model: str) -> bool:
    """Not if it is made for embeddings. One of which that is not known is given its chance."""
    try:
        known = ask(settings, "/api/show", {"model": model})[1].get("capabilities")
    except NoAnswer:
        known = None
    return not isinstance(known, list) or "completion" in known


def _credential(settings: Settings) -> list[str]:
    """What curl must be told if a key is needed; not the key itself, which would stay on the screen."""
    try:
        is_open = ask(settings, "/readyz")[1].get("access") != "keys"
    except NoAnswer:
        is_open = True
    return [] if is_open else ["-H", "Authorization: Bearer YOUR-KEY"]


def _trust(settings: Settings) -> list[str]:
    """What curl must be told to accept the certificate."""
    if not settings.tls or certificate_is_trusted(settings):
        return []
    certificate = settings.certificate
    if certificate_is_trusted(settings, str(certificate)):
        return ["--cacert", str(_from_here(certificate))]
    return ["--insecure"]  # a real certificate, but for another name than this machine's own address


def _from_here(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = False
    try:
        settings = read_settings()
        # Compose cannot tell the gateway which profile is active; an alert asks for it.
        os.environ["GATEWAY_GPU_EXPECTED"] = settings.gpu_expected
        start(settings)
        started = True
        wait_until_ready(settings)
        tell(settings)
        # On the CPU there is nothing to promise; on a GPU it is the point.
        good = settings.profile not in ("gpu", "amd") or report(after_start(settings), sys.stderr)
    except BadSetting as error:
        say(str(fail(str(error), "See .env.example")))
        return 1
    except (StartFailed, CommandFailed) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        going_on = "The stack goes on starting" if started else "What has been started goes on"
        say(f"\n{going_on}. make ps and make logs show it, make up waits for it again, make down stops it.")
        return 130
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
