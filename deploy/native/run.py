"""`make run`, `make demo`, `make verify` and `make key`: the stack without Docker."""

import sys

import stopping

# To be stopped is how `run` is meant to end; the others have not done then what they were asked for.
STOPPED = 0 if "run" in sys.argv[1:2] else 130

if __name__ == "__main__":
    stopping.end_at_once(STOPPED)
    from commands import main

    sys.exit(main(STOPPED))
