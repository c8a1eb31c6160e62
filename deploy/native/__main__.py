"""`make run`, `make demo`, `make verify` and `make key`: the stack without Docker."""

import sys

from deploy.native import stop_signals

# A stop is how `run` is meant to end; the other commands have then not done what they were asked for.
STOPPED = 0 if "run" in sys.argv[1:2] else 130

if __name__ == "__main__":
    stop_signals.exit_at_once(STOPPED)
    from deploy.native.cli import main

    sys.exit(main(STOPPED))
