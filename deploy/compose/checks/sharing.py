"""Do the gateways of the running stack share their state?"""

from collections.abc import Iterator

from deploy.compose.checks.result import Result, fail, ok, warn
from deploy.compose.docker_cli import Container
from deploy.compose.settings import SHARED, Settings
from deploy.compose.stack_client import NoAnswer, ask


def check_sharing(settings: Settings, containers: list[Container]) -> Iterator[Result]:
    """Nothing if the stack is not running."""
    gateways = sum(container.service == "gateway" and container.running for container in containers)
    if not gateways:
        return
    with_it = f"make up PROFILE={settings.profiles}"
    if not settings.shared:
        if gateways > 1:
            yield warn(
                f"{gateways} gateways run, which share nothing: each has its own queue, limits and answers",
                f"Add the profile {SHARED}: {with_it},{SHARED}",
            )
        return
    if not any(container.service == "valkey" and container.running for container in containers):
        yield fail("the gateways share nothing, because Valkey does not run", f"Start it: {with_it}")
        return
    try:
        _, answer = ask(settings, "/readyz")
    except NoAnswer:
        return  # others report it
    if problem := answer.get("shared"):
        yield fail(f"a gateway does not reach Valkey: {problem}", "See why: make logs SERVICE=valkey")
    else:
        yield ok("the gateways share their state")
