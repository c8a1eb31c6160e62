"""`make telemetry`: CPU per token of a gateway with metrics and logs, beside one without."""

import argparse
import sys

from tests.load.side_by_side import Side, compare
from tests.processes import ROOT

LIMIT_PERCENT = 3.0
WITH = Side("with")
WITHOUT = Side("without", ROOT / "tests/load/silent.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    median, spread = compare(WITH, WITHOUT, parser.parse_args().rounds)
    print(f"median {median:+.1f} % more with metrics and logs, {spread}")
    return median >= LIMIT_PERCENT


if __name__ == "__main__":
    sys.exit(main())
