"""A pull goes to every server, and clients see it as one."""

import json
from functools import partial

import httpx
import ollama
import pytest

from tests.fakes.ollama import Do
from tests.integration.servers.fleet import MANIFEST, SUCCESS, Fleet, layer, lines, pulled
from tests.processes import wait_until


def test_the_ollama_package_sees_one_progress(three: Fleet) -> None:
    one, two, three_ = three.servers
    one.answer("seen", *lines(MANIFEST, layer(0), layer(100), SUCCESS))
    two.answer("seen", *lines(MANIFEST, layer(0), layer(50)), Do.WAIT, *lines(layer(100), SUCCESS))
    three_.answer("seen", *lines(MANIFEST, layer(100), {"status": "verifying sha256 digest"}, SUCCESS))
    two.pause()
    seen = []
    with ollama.Client(three.url) as client:
        for progress in client.pull("seen", stream=True):
            seen.append((progress.status, progress.total, progress.completed))
            if progress.completed == 83:  # two servers have it all, one half of it
                two.go_on()
    assert seen[0] == ("pulling manifest", None, None)
    assert seen[-3:] == [
        ("pulling 111111111111", 100, 100),
        ("verifying sha256 digest", None, None),
        ("success", None, None),
    ]
    assert {total for status, total, _ in seen if status == "pulling 111111111111"} == {100}
    bar = [completed for _, _, completed in seen if completed is not None]
    assert 83 in bar
    assert bar == sorted(bar)
    assert len([status for status, *_ in seen if status == "success"]) == 1
    for server in three.servers:
        (request,) = server.asked_for("/api/pull", "seen")
        assert request.body == one.asked_for("/api/pull", "seen")[0].body


def test_a_server_that_fails_is_named_after_the_others_are_done(three: Fleet) -> None:
    one, two, three_ = three.servers
    one.answer("partly", *lines(MANIFEST, layer(100), SUCCESS))
    two.answer("partly", *lines(MANIFEST, layer(10), {"error": "no space left on device"}))
    three_.answer("partly", *lines(MANIFEST, layer(50)), Do.WAIT, *lines(layer(100), SUCCESS))
    three_.pause()
    seen = []
    failure = pytest.raises(ollama.ResponseError, match=r"^gpu2: no space left on device \(")
    with ollama.Client(three.url) as client, failure:
        for step in client.pull("partly", stream=True):
            seen.append(step)
            if step.completed == 75:  # the mean without the one that has failed
                three_.go_on()
    assert [step.completed for step in seen][-1] == 100
    assert not [step for step in seen if step.status == "success"]
    assert three_.asked_for("/api/pull", "partly")[0].answered.wait(10)


def test_servers_that_fail_alike_are_named_together(three: Fleet) -> None:
    for server, reason in zip(three.servers, ("no such tag", "disk full", "no such tag"), strict=True):
        server.answer("nowhere", *lines(MANIFEST, {"error": reason}))
    *_, last = pulled(three, "nowhere")
    assert last == {"error": "gpu1, gpu3: no such tag; gpu2: disk full"}


def test_a_server_that_ends_without_success_has_failed(three: Fleet) -> None:
    for server in three.servers:
        server.answer("cut", *lines(MANIFEST, SUCCESS))
    three.servers[2].answer("cut", *lines(MANIFEST))
    *_, last = pulled(three, "cut")
    assert last == {"error": "gpu3: upstream closed the stream before the answer was complete"}


def test_a_server_that_is_down_is_named(one_down: Fleet) -> None:
    for server in one_down.servers:
        server.answer("m", *lines(MANIFEST, layer(100), SUCCESS))
    *others, last = pulled(one_down, "m")
    assert last == {"error": "gpu1: the model server cannot be reached"}
    assert layer(100) in others


def test_without_a_stream_the_answer_comes_when_all_have_succeeded(three: Fleet) -> None:
    for server in three.servers:
        server.answer("whole", *lines(SUCCESS))
    with ollama.Client(three.url) as client:
        assert client.pull("whole").status == "success"
    three.servers[1].answer("whole", *lines({"error": "disk full"}), status=500)
    answer = three.client.post("/api/pull", json={"model": "whole", "stream": False})
    assert (answer.status_code, answer.json()) == (500, {"error": "gpu2: disk full"})
    assert all(len(server.asked_for("/api/pull", "whole")) == 2 for server in three.servers)


def test_if_all_refuse_before_the_first_line_their_status_is_the_answers(three: Fleet) -> None:
    for server in three.servers:
        server.answer("refused", *lines({"error": "invalid model name"}), status=400)
    answer = three.client.post("/api/pull", json={"model": "refused"})
    assert (answer.status_code, answer.json()) == (400, {"error": "gpu1, gpu2, gpu3: invalid model name"})


def test_a_client_that_leaves_ends_the_pulls_of_all(three: Fleet) -> None:
    for server in three.servers:
        server.answer("long", *lines(MANIFEST, layer(1)), Do.HANG)
    with three.client.stream("POST", "/api/pull", json={"model": "long"}) as answer:
        first = next(answer.iter_lines())
        assert json.loads(first) == MANIFEST
        for server in three.servers:
            wait_until(partial(server.asked_for, "/api/pull", "long"), 10, "each server is asked")
    for server in three.servers:
        assert server.asked_for("/api/pull", "long")[0].gone.wait(10)


def test_a_client_that_leaves_ends_them_without_a_stream_too(three: Fleet) -> None:
    for server in three.servers:
        server.answer("longer", Do.HANG)
    with pytest.raises(httpx.ReadTimeout):
        three.client.post("/api/pull", json={"model": "longer", "stream": False}, timeout=1)
    for server in three.servers:
        assert server.asked_for("/api/pull", "longer")[0].gone.wait(10)


def test_x_backend_restricts_a_pull_to_one_server(three: Fleet) -> None:
    for server in three.servers:
        server.answer("only", *lines(MANIFEST, layer(7), SUCCESS))
    assert pulled(three, "only", **{"X-Backend": "gpu2"}) == [MANIFEST, layer(7), SUCCESS]
    assert [len(server.asked_for("/api/pull", "only")) for server in three.servers] == [0, 1, 0]


def test_what_may_not_be_pulled_reaches_no_server(three: Fleet) -> None:
    answer = three.client.post("/api/pull", json={"model": "hf.co/org/model"})
    assert answer.status_code == 403
    assert not any(server.asked_for("/api/pull", "hf.co/org/model") for server in three.servers)


def test_a_new_model_is_known_at_once(three: Fleet) -> None:
    name = "fresh:latest"
    for server in three.servers:
        server.answer(name, *lines(SUCCESS))
    pulled(three, name)

    def answers() -> bool:
        return three.client.post("/api/show", json={"model": name}).status_code == 200

    wait_until(answers, 10, "the model is known")
