"""Which of several model servers answers: a pure function of what is known of them."""

from collections.abc import Sequence
from math import inf, log
from typing import NamedTuple

_RANGE = 2.0**61


class Candidate(NamedTuple):
    """A server that has the model and a free slot for it.

    `seed` is a hash of the server's name, `is_loaded` whether the model is in memory, `busy` the number of
    all answers that run there, `free` the number of the model's free slots.
    """

    seed: int
    is_loaded: bool
    busy: int
    free: float
    weight: float


def choose(candidates: Sequence[Candidate], conversation: int, slack: int) -> int:
    """The index of the best candidate: one that has the model in memory; of those the conversation's home,
    while that one runs at most `slack` answers more than the least busy; else the one with the most free
    slots, of equals the heaviest, then the least busy. `conversation` is 0 if there is none.
    """
    if len(candidates) == 1:
        return 0
    loaded = [index for index, candidate in enumerate(candidates) if candidate.is_loaded]
    among = loaded or range(len(candidates))
    if conversation:
        home = _home(candidates, among, conversation)
        if candidates[home].busy <= min(candidates[index].busy for index in among) + slack:
            return home
    return max(among, key=lambda index: _room(candidates[index]))


def _room(candidate: Candidate) -> tuple[float, float, int]:
    return candidate.free, candidate.weight, -candidate.busy


def _home(candidates: Sequence[Candidate], among: Sequence[int], conversation: int) -> int:
    """Weighted rendezvous hashing: each conversation ranks the servers in its own order, so that one that
    comes or goes moves only its share. Schindelhauer, Schomaker, "Weighted Distributed Hash Tables", 2005.
    """
    best, home = -inf, among[0]
    for index in among:
        candidate = candidates[index]
        # Python's hash of a tuple of numbers is the same in all processes.
        share = (hash((candidate.seed, conversation)) % _RANGE + 1) / (_RANGE + 1)
        score = candidate.weight / -log(share)
        if score > best:
            best, home = score, index
    return home
