"""How gunicorn runs the gateway. Everything that an operator may change is a GATEWAY_* variable."""

from pathlib import Path
from typing import Any

from gateway import garbage
from gateway.access.keyring import Keyring
from gateway.server.descriptors import raise_limit, warning
from gateway.settings import load_settings
from gateway.telemetry import shared
from gateway.telemetry.logs import configure_structlog, standard_logging

settings = load_settings()
configure_structlog(settings)
descriptors_at_most = raise_limit()
shared.set_up()

bind = f"{settings.host}:{settings.port}"
backlog = 4096  # as nginx; the system may have a lower limit (net.core.somaxconn)
workers = settings.workers
worker_class = "gateway.server.worker.GatewayWorker"
wsgi_app = "gateway.app:create_app()"

# The grace chain: the application ends its streams a second before uvicorn gives up on them, and uvicorn
# gives up before gunicorn kills the worker.
graceful_timeout = int(settings.grace) + 5
timeout = 30  # without a sign of life; a worker that drains goes on giving them

# Above nginx's upstream keepalive_timeout, so that nginx never sends on a connection that is being closed.
keepalive = 75

# A worker's sign of life is a file: on a disk that stalls, healthy workers would be killed.
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"
control_socket_disable = True
logconfig_dict = standard_logging(settings)


def on_starting(arbiter: Any) -> None:
    if too_few := warning(descriptors_at_most):
        arbiter.log.warning(too_few)
    if Keyring(settings).is_open:
        arbiter.log.warning(
            "open to everybody on this machine, since there are no keys; make key NAME=me makes one"
        )


# Each worker has a place, where it counts; its replacement gets the same one.
def pre_fork(arbiter: Any, worker: Any) -> None:
    worker.place = shared.free_place(other.place for other in arbiter.WORKERS.values())


def post_fork(arbiter: Any, worker: Any) -> None:
    shared.take(worker.place)


def post_worker_init(worker: Any) -> None:
    garbage.freeze()


def child_exit(arbiter: Any, worker: Any) -> None:
    shared.give_up(worker.place)


def on_exit(arbiter: Any) -> None:
    shared.clear()
