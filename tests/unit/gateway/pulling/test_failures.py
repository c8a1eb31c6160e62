"""Pulls that fail, stall or are refused."""

import asyncio
from dataclasses import replace

import pytest

from tests.fakes.ollama import Answer, Do
from tests.unit.gateway.pulling.ollama import (
    GOOD,
    HALF,
    MANIFEST,
    NO_NETWORK,
    UNKNOWN,
    VERIFYING,
    PullingOllama,
    error,
    part,
)
from tests.unit.gateway.pulling.puller import PATIENT, QUICK, events, pull

FAILURES = {
    "no network": NO_NETWORK,
    "too many requests": Answer([MANIFEST, error("pull model manifest: 429: slow down")]),
    "the registry's own trouble": Answer([MANIFEST, error("pull model manifest: 503: try later")]),
    "an error half-way": Answer([MANIFEST, HALF, error("max retries exceeded: EOF")]),
    "a file that came in wrong": Answer([MANIFEST, HALF, VERIFYING, error("digest mismatch")]),
    "a reset half-way": Answer([MANIFEST, HALF, Do.DROP]),
    "a reset at once": Answer([Do.DROP]),
    "an end half-way": Answer([MANIFEST, HALF]),
    "nothing": Answer([]),
    "something else": Answer([MANIFEST, b"<html>\n"]),
    "500": Answer([error("out of order")], status=500),
    "503": Answer([error("busy")], status=503),
    "429": Answer([error("busy")], status=429),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_what_may_pass_is_tried_again_until_it_has_passed(failure: Answer) -> None:
    async with PullingOllama(answers={"a": [failure, failure, GOOD]}).running() as ollama:
        refused, lines = await pull(ollama, "a")
    assert ollama.pulls == ["a"] * 3
    assert not refused
    assert len(events(lines, "pull_failed")) == 2
    assert len(events(lines, "pulled")) == 1


async def test_an_end_without_success_is_none_whatever_is_listed() -> None:
    async with PullingOllama(answers={"a": [FAILURES["an end half-way"], GOOD]}).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert "without reporting success" in events(lines, "pull_failed")[0]["reason"]


@pytest.mark.parametrize("stuck", [Do.HANG, Do.WAIT], ids=["silence", "the same line over and over"])
async def test_a_download_that_does_not_move_is_begun_again(stuck: Do) -> None:
    answers = [Answer([MANIFEST, HALF, stuck]), GOOD]
    async with PullingOllama(answers={"a": answers}).running() as ollama:
        _, lines = await pull(ollama, "a", pace=QUICK)
        await asyncio.wait_for(ollama.abandoned.wait(), 5)
    assert ollama.pulls == ["a", "a"]
    assert events(lines, "pull_failed")[0]["reason"] == "stalled at 'pulling aa'"


async def test_an_ollama_that_does_not_answer_a_pull_is_asked_again() -> None:
    async with PullingOllama(answers={"a": [Answer([Do.HANG]), GOOD]}).running() as ollama:
        await pull(ollama, "a", pace=QUICK)
    assert ollama.pulls == ["a", "a"]


async def test_verifying_may_take_longer_than_a_download_may_stand_still() -> None:
    ollama = PullingOllama(answers={"a": [Answer([MANIFEST, VERIFYING, Do.HANG]), GOOD]})
    async with ollama.running():
        started = asyncio.get_running_loop().time()
        await pull(ollama, "a", pace=QUICK)
    assert asyncio.get_running_loop().time() - started > QUICK.settle


REFUSALS = {
    "no such model": UNKNOWN,
    "an Ollama too old": Answer([MANIFEST, error("pull model manifest: 412: requires a newer version")]),
    "no model for Ollama": Answer([MANIFEST, error("pull model manifest: 400: not compatible")]),
    "no access": Answer([MANIFEST, error("pull model manifest: unauthorized: access denied")]),
    "none at Hugging Face": Answer([MANIFEST, error('pull model manifest: realm host "" does not match')]),
    "no name": Answer([error("invalid model name")], status=400),
    "404": Answer([error("model 'a' not found")], status=404),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_what_cannot_be_had_is_reported_once_and_the_others_are_pulled(refusal: Answer) -> None:
    async with PullingOllama(answers={"a": [refusal]}).running() as ollama:
        refused, lines = await pull(ollama, "a", "b")
    assert ollama.pulls == ["a", "b"]
    assert list(refused) == ["a"]
    assert [(line["model"], line["reason"]) for line in events(lines, "pull_refused")] == [
        ("a", refused["a"])
    ]
    assert lines[-1]["event"] == "models_missing"
    assert lines[-1]["models"] == refused
    assert "MODELS" in lines[-1]["todo"]


async def test_a_model_that_keeps_failing_holds_up_no_other() -> None:
    answers = {"a": [NO_NETWORK] * 12 + [GOOD], "b": [NO_NETWORK] * 4 + [GOOD]}
    async with PullingOllama(answers=answers).running() as ollama:
        refused, _ = await pull(ollama, "a", "b", "c")
    assert not refused
    assert ollama.pulls[:7] == ["a"] * 3 + ["b"] * 3 + ["c"]
    assert ollama.pulls.count("a") == 13


async def test_a_turn_ends_when_the_next_attempt_is_far_off() -> None:
    pace = replace(PATIENT, first_delay=0.2, longest_delay=0.2, patience=0.05)
    async with PullingOllama(answers={"a": [NO_NETWORK, GOOD]}).running() as ollama:
        await pull(ollama, "a", "b", pace=pace)
    assert ollama.pulls == ["a", "b", "a"]


async def test_the_pauses_grow_unless_bytes_arrive() -> None:
    moving = Answer([MANIFEST, part("aa", 1, 10), part("aa", 5, 10), Do.DROP])
    async with PullingOllama(answers={"a": [NO_NETWORK] * 4 + [moving, GOOD]}).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert [line["failures"] for line in events(lines, "pull_failed")] == [1, 2, 3, 4, 1]


async def test_a_model_that_is_not_listed_after_its_pull_is_pulled_again() -> None:
    async with PullingOllama(forgets=1).running() as ollama:
        _, lines = await pull(ollama, "a")
    assert ollama.pulls == ["a", "a"]
    assert "does not list the model" in events(lines, "pull_failed")[0]["reason"]
