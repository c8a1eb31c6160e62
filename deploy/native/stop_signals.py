"""The signals that stop the stack, handled from the first moment on: this imports nothing slow."""

import os
import signal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def exit_at_once(status: int) -> None:
    """For as long as nothing runs that has to be stopped."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(status))
    # The Makefile blocks them until here, because Python's own start answers Ctrl-C with a traceback.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def block() -> None:
    """For the last moments, when the end comes anyway."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
