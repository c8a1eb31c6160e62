"""Which of several model servers answers: a pure function of what is known of them."""

from collections.abc import Sequence
from math import log
from operator import attrgetter
from typing import NamedTuple

_BITS = 2**64 - 1
_seed, _weight = attrgetter("seed"), attrgetter("weight")


class Offer(NamedTuple):
    """A server that can answer with a model: how many answers at once, and with how many models; 0 stands for
    no limit. `seed` is an odd random number of the name, `is_loaded` whether the model is in memory.
    """

    name: str
    seed: int = 1
    weight: float = 1.0
    slots: int = 0
    models_at_once: int = 0
    is_loaded: bool = False


class Load(NamedTuple):
    """Of a server: all answers that run there, the model's free slots, and whether the model is in memory."""

    busy: int
    free: float
    is_loaded: bool


def choose(
    offers: Sequence[Offer], loads: Sequence[tuple[int, float, bool]], conversation: int, slack: int
) -> int:
    """The index of the best server with a free slot, of which there is at least one: one that has the model
    in memory; of those the conversation's home, while that one runs at most `slack` answers more than the
    least busy; else the one with the most free slots, of equals the heaviest, then the least busy.

    `conversation` is 0 if there is none. `loads` are those of the offers, as `Load`.
    """
    among = [index for index, (_, free, is_loaded) in enumerate(loads) if is_loaded and free]
    if not among:
        among = [index for index, (_, free, _) in enumerate(loads) if free]
    if conversation and len(among) > 1:
        home = _home(offers, among, conversation | 1)
        if loads[home][0] <= slack or loads[home][0] <= min([loads[index][0] for index in among]) + slack:
            return home
    return max(among, key=lambda index: (loads[index][1], offers[index].weight, -loads[index][0]))


def _home(offers: Sequence[Offer], among: Sequence[int], conversation: int) -> int:
    """Weighted rendezvous hashing: each conversation ranks the servers in its own order, so that one that
    comes or goes moves only its share. Schindelhauer, Schomaker, "Weighted Distributed Hash Tables", 2005.
    """
    chosen = offers if len(among) == len(offers) else [offers[index] for index in among]
    hashes = [(seed * conversation) & _BITS for seed in map(_seed, chosen)]
    weights = list(map(_weight, chosen))
    if weights.count(weights[0]) == len(weights):
        return among[hashes.index(max(hashes))]
    scores = [
        weight / -log((number + 1) / (_BITS + 2)) for weight, number in zip(weights, hashes, strict=True)
    ]
    return among[scores.index(max(scores))]
