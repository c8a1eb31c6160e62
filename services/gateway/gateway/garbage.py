"""When the garbage collector runs: while it does, no stream gets a byte.

Requests leave nothing to collect (tests/unit/gateway/test_garbage.py), so it only costs: for a thousand
requests at once it looks at a hundred thousand objects, which takes up to 80 ms.
"""

import gc

# Net of those freed. What a few thousand requests have in use at once; beyond it something leaves cycles.
MOST_OBJECTS = 300_000

# Fewer are not worth a look.
SOME_OBJECTS = 5_000


def freeze() -> None:
    """What there is now stays for good: it is never looked at again, which saves a worker 6 % of its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(MOST_OBJECTS, 10, 10)


def collect_while_idle() -> None:
    """Takes some milliseconds, at a moment at which nobody waits for them."""
    if gc.get_count()[0] > SOME_OBJECTS:
        gc.collect()
