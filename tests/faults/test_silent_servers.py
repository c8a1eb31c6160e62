"""A server that accepts connections and is silent delays nobody who can do without it, and is named."""

import time
from pathlib import Path

from tests.fakes.ollama import Do
from tests.integration.servers.fleet import MANIFEST, SUCCESS, fleet, found, lines, pulled
from tests.processes import wait_until


def test_a_server_that_stays_silent_is_named(tmp_path: Path) -> None:
    with fleet(tmp_path, ["gpu1", "gpu2"], GATEWAY_MANAGE_TIMEOUT="2", GATEWAY_EARLY_COMMIT="1") as running:
        running.wait_ready()
        running.servers[0].answer("m", Do.HANG)
        running.servers[1].answer("m", *lines(MANIFEST, SUCCESS))
        assert pulled(running, "m")[-1] == {"error": "gpu1: the model server was silent for too long"}
        whole = running.client.post("/api/pull", json={"model": "m", "stream": False})
        assert (whole.status_code, whole.json()["error"]) == (
            504,
            "gpu1: the model server was silent for too long",
        )


def test_a_server_that_is_known_to_be_silent_delays_no_pull(tmp_path: Path) -> None:
    with fleet(tmp_path, ["gpu1", "gpu2"]) as running:
        running.wait_ready()
        running.servers[1].answer("m", *lines(MANIFEST, SUCCESS))
        with running.servers[0].frozen():
            wait_until(lambda: "gpu1" in running.client.get("/readyz").text, 30, "it is known to be silent")
            assert pulled(running, "m")[-1] == {"error": "gpu1: the model server did not answer in time"}


def test_a_server_that_is_silent_delays_no_list_once_that_is_known(tmp_path: Path) -> None:
    with fleet(tmp_path, ["gpu1", "gpu2"]) as running:
        running.wait_ready()
        with running.servers[1].frozen():
            wait_until(lambda: "gpu2" in running.client.get("/readyz").text, 30, "it is known to be silent")
            began = time.monotonic()
            assert found(running, "/api/tags", "models", "name") == {"everywhere": ["gpu1"]}
            assert time.monotonic() - began < 3
