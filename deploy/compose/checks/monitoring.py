"""Will Grafana start?"""

from collections.abc import Iterator

from environment import Settings
from finding import Finding, fail


def check_monitoring(settings: Settings) -> Iterator[Finding]:
    if settings.monitoring and not settings.grafana_password:
        yield fail(
            "Grafana has no password, and there is no default: it will not start",
            "Put GRAFANA_PASSWORD= into .env, for instance what `openssl rand -hex 16` says",
        )
