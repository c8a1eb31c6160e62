"""Words for people. That nobody takes them, as after `| head -1`, is no reason to stop."""

import os
import sys
from typing import TextIO


def say(text: object, to: TextIO | None = None, end: str = "\n") -> None:
    """On standard error if it is not told otherwise."""
    stream = to or sys.stderr
    if stream is None:  # it was closed before the start
        return
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError:
        # What could not be written would be tried once more at the exit, and make that fail.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
