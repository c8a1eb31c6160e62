"""For all tests."""

import functools
import signal

from httpx._transports import default

# Each client, so each `httpx.get`, would read the system's certificates: 17 ms of processor time.
default.create_ssl_context = functools.cache(default.create_ssl_context)  # type: ignore[attr-defined]  # not its own

# A shell lets what it starts in the background ignore Ctrl-C, and that is inherited by what a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
