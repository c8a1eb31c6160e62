"""Being asked to stop, from the first moment on: imports nothing that takes its time."""

import os
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_at_once(status: int) -> None:
    """For as long as nothing has been started that would have to be stopped."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(status))
    # The Makefile has them held back, because Python's own start has a traceback for Ctrl-C.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore() -> None:
    """For the end, which comes anyway."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
