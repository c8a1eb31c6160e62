"""`make resume`: CPU per token of answers that outlive their connection, beside those that do not."""

import argparse
import sys

from tests.load.side_by_side import Side, compare

LIMIT_PERCENT = 15.0
KEPT = Side("kept", header="Prefer: resume=60")
PLAIN = Side("plain")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=16)
    median, spread = compare(KEPT, PLAIN, parser.parse_args().rounds)
    print(f"median {median:+.1f} % more for an answer that stays, {spread}")
    return median >= LIMIT_PERCENT


if __name__ == "__main__":
    sys.exit(main())
