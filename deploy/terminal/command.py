"""How a command ends."""

import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130  # what shells make of SIGINT


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Exits with the status that `main` returns; after Ctrl-C with 130 and no traceback."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
