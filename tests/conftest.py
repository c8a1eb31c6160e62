"""For all tests."""

import signal

# A shell lets what it starts in the background ignore Ctrl-C, and that is inherited by what a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
