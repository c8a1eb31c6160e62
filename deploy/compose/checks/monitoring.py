"""Will Grafana start?"""

from collections.abc import Iterator

from deploy.compose.checks.result import Result, fail
from deploy.compose.settings import Settings


def check_monitoring(settings: Settings) -> Iterator[Result]:
    if settings.monitoring and not settings.has_grafana_password:
        yield fail(
            "Grafana will not start: it has no password, and there is no default",
            "Put GRAFANA_PASSWORD= into .env, for instance with the output of `openssl rand -hex 16`",
        )
