"""What to do once the containers are up: where they are, how to ask, which models are still missing."""

from pathlib import Path

from deploy import ROOT
from deploy.compose import pull_log
from deploy.compose.docker_cli import list_containers
from deploy.compose.readiness import end_of_log, running_pull
from deploy.compose.settings import LOOPBACK, SHARED, Settings
from deploy.compose.stack_client import NoAnswer, ask, certificate_is_trusted
from deploy.terminal.curl import curl, example_question
from deploy.terminal.messages import say


def show_next_steps(settings: Settings) -> None:
    """Raises CommandFailed."""
    containers = list_containers()
    pull = running_pull(containers)
    if pull and pull.text:
        say(f"Models are still being pulled: {pull.text}\nTo follow: make logs SERVICE=models")
    elif any(c.service == pull_log.SERVICE and c.exit_code for c in containers):
        say("Not all models could be pulled:")
        say("\n".join(end_of_log(pull_log.SERVICE)[-3:]))
    if not settings.shared and sum(c.service == "gateway" and c.running for c in containers) > 1:
        say(
            "Several gateways run, which share nothing: answers cannot be read on after a lost connection. "
            f"Add the profile {SHARED}, as in PROFILE={settings.profiles},{SHARED}, or run one gateway."
        )
    question = example_question(_chat_model(settings))
    command = curl(f"{settings.url}/chat", question, *_trust(settings), needs_key=_needs_key(settings))
    say(f"\nThe stack is up. Open {settings.url} in a browser, or ask it something here:\n\n  {command}\n")
    if settings.monitoring:
        say(
            f"Dashboard: http://{LOOPBACK}:{settings.grafana_port} (user admin, GRAFANA_PASSWORD); "
            f"alerts: http://{LOOPBACK}:{settings.prometheus_port}/alerts\n"
        )
    say("make logs shows what it is doing, make doctor checks it, make down stops it.\n")


def _chat_model(settings: Settings) -> str:
    """The first model of MODELS that can chat, or else the first that is there."""
    try:
        names = [str(model["name"]) for model in ask(settings, "/api/tags")[1]["models"]]
    except (NoAnswer, LookupError, TypeError):
        names = []
    preferred = [name for name in settings.models if name in names]
    return next((name for name in (*preferred, *names) if _can_chat(settings, name)), "MODEL")


def _can_chat(settings: Settings, model: str) -> bool:
    """Not an embedding model. One of which that is unknown gets the benefit of the doubt."""
    try:
        known = ask(settings, "/api/show", {"model": model})[1].get("capabilities")
    except NoAnswer:
        known = None
    return not isinstance(known, list) or "completion" in known


def _needs_key(settings: Settings) -> bool:
    try:
        return ask(settings, "/readyz")[1].get("access") == "keys"
    except NoAnswer:
        return False


def _trust(settings: Settings) -> list[str]:
    """curl's options to accept the certificate."""
    if not settings.tls or certificate_is_trusted(settings):
        return []
    certificate = settings.certificate
    if certificate_is_trusted(settings, str(certificate)):
        return ["--cacert", str(_relative(certificate))]
    return ["--insecure"]  # a real certificate, but not for this machine's own address


def _relative(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
