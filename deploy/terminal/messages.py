"""Messages for people. A reader that has gone, as after `| head -1`, is no reason to stop."""

import os
import sys
from typing import TextIO


def say(text: object, to: TextIO | None = None, end: str = "\n") -> None:
    """Writes to standard error by default. Never raises."""
    stream = to or sys.stderr
    if stream is None:  # it was closed before the start
        return
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError:
        # Python would try to write the rest at exit, and fail.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
