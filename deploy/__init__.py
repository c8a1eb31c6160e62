"""What starts the stack: with Python alone (native), or in containers (compose) with monitoring beside them.

Run with `python -m deploy.…` from the top of the repository.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whatever `python3` is on this machine comes through here
    sys.exit(
        f"Python 3.11 or newer is needed, but {sys.executable} is {sys.version.split()[0]}. "
        "Choose another one with `make PYTHON=python3.12 …`."
    )

ROOT = Path(__file__).resolve().parents[1]
