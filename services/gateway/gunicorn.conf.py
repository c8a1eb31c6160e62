"""gunicorn's configuration of the gateway. Operators use GATEWAY_* variables instead."""

import sys
from pathlib import Path
from typing import Any

from gateway import garbage
from gateway.access.keyring import Keyring
from gateway.server.descriptors import raise_limit, warning
from gateway.server.listening import binds
from gateway.settings import load_settings
from gateway.shared_url import find_shared_url
from gateway.telemetry import shared
from gateway.telemetry.logs import configure_structlog, standard_logging

settings = load_settings()
configure_structlog(settings)
descriptor_limit = raise_limit()
shared.set_up()

try:
    bind = binds(settings.host, settings.port)
except ValueError as error:
    sys.exit(f"gateway: GATEWAY_HOST: {error}")
try:
    shared_url = find_shared_url(settings.shared_url, settings.shared_url_file)
except (ValueError, OSError) as error:
    sys.exit(f"gateway: GATEWAY_SHARED_URL_FILE: {error}")
backlog = 4096  # same as nginx; the kernel may limit it further (net.core.somaxconn)
workers = settings.workers
worker_class = "gateway.server.worker.GatewayWorker"
wsgi_app = "gateway.app:create_app()"

# Order of timeouts in a drain: the application ends its streams a second before uvicorn cancels them, and
# uvicorn cancels them before gunicorn kills the worker.
graceful_timeout = int(settings.grace) + 5
timeout = 30  # without a heartbeat from the worker, which continues while it drains

# Above nginx's upstream keepalive_timeout, so that nginx never sends on a connection that is being closed.
keepalive = 75

# A worker's heartbeat is a file: on a disk that stalls, healthy workers would be killed.
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"
control_socket_disable = True
logconfig_dict = standard_logging(settings)


def on_starting(arbiter: Any) -> None:
    if message := warning(descriptor_limit):
        arbiter.log.warning(message)
    if workers > 1 and not shared_url:
        arbiter.log.info(
            f"each of the {workers} workers has its share of the slots, at least one, "
            "of the queue, and of the callers' limits"
        )
        if settings.resume_max:
            arbiter.log.warning(
                "answers cannot outlive their connection: workers share nothing, so whoever came back could "
                "reach another one; Prefer: resume needs GATEWAY_WORKERS=1 or GATEWAY_SHARED_URL"
            )
    if Keyring(settings).is_open:
        arbiter.log.warning(
            "no API keys: everyone on this machine has access; create a key with make key NAME=me"
        )


# Each worker has a slot with its metrics files; its replacement takes the same slot.
def pre_fork(arbiter: Any, worker: Any) -> None:
    worker.slot = shared.free_slot(other.slot for other in arbiter.WORKERS.values())


def post_fork(arbiter: Any, worker: Any) -> None:
    shared.take_slot(worker.slot)


def post_worker_init(worker: Any) -> None:
    garbage.freeze()


def child_exit(arbiter: Any, worker: Any) -> None:
    shared.release_slot(worker.slot)


def on_exit(arbiter: Any) -> None:
    shared.clear()
