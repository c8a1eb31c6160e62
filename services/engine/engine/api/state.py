"""What all requests share."""

from dataclasses import dataclass

from ..inference.scheduler import Scheduler
from ..models.catalogue import Catalogue
from ..settings import Settings
from ..telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class State:
    settings: Settings
    catalogue: Catalogue
    scheduler: Scheduler
    metrics: Metrics
