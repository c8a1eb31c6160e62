"""Answers of random length, split at random, some of which fail."""

import random

from tests.fakes.ollama import DONE, Do, FakeOllama, Step, line

SCRIPTS = tuple(f"script-{number}" for number in range(40))
# Those of them that are larger than all buffers on the way to a slow reader.
LARGE = SCRIPTS[:3]
LARGE_LINE_BYTES = 5_000
# One for all, since each has its own slots.
MODEL = "m"
# Never ends by itself.
ENDLESS = "endless"

TEXTS = ("", "x", " word", "\\", '"quoted"', "data: \n\nid: 9\n\n", "\r\n", "\u2028é", "🙂" * 5, "long " * 60)
LONGEST_PAUSE_SECONDS = 0.02


def prepare(fake: FakeOllama, seed: int) -> None:
    fake.answer(MODEL, DONE)
    for name in SCRIPTS:
        chance = random.Random(f"{seed} {name}")
        fake.answer(name, *_steps(chance, name in LARGE))
    fake.answer(ENDLESS, line("a"), 0.05, line("b"), line("c"), Do.HANG)


def _steps(chance: random.Random, is_large: bool) -> list[Step]:
    """At least one line, then the end or a fault."""
    texts = [chance.choice(TEXTS) for _ in range(chance.randint(1, 150))]
    if is_large:
        texts = [text + "x" * LARGE_LINE_BYTES for text in texts]
    ends: list[tuple[Step, ...]] = [
        (DONE,),
        (b'{"error":"out of memory"}\n',),
        (),  # truncated
        (DONE[: len(DONE) // 2],),
        (DONE[: len(DONE) // 2], Do.DROP),
        (b"<html>\n",),
    ]
    end = chance.choices(ends, [20, 2, 1, 1, 1, 1])[0]
    content = b"".join(line(text) for text in texts)
    last = b"".join(step for step in end if isinstance(step, bytes))
    faults = [step for step in end if not isinstance(step, bytes)]
    return [*_split(chance, content + last), *faults]


def _split(chance: random.Random, content: bytes) -> list[Step]:
    steps: list[Step] = []
    longest = max(chance.choice([3, 100, 1000]), len(content) // 200)
    while content:
        size = chance.randint(1, longest)
        steps.append(content[:size])
        content = content[size:]
        if content and chance.random() < 10 / (
            10 + len(steps)
        ):  # fewer and fewer, so that the number is bounded
            steps.append(LONGEST_PAUSE_SECONDS * chance.random())
    return steps
