"""What all requests share."""

from dataclasses import dataclass

from .catalogue import Catalogue
from .runners import Runners
from .settings import Settings
from .telemetry import Metrics


@dataclass(frozen=True, slots=True)
class State:
    settings: Settings
    catalogue: Catalogue
    runners: Runners
    metrics: Metrics
