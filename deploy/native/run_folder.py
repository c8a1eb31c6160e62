"""The folder with a stack's run-time files: one a public port, and one stack's own for as long as it runs."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stack import ROOT, BadSetting, Stack, run_folder

FACTS = "stack.json"


@contextmanager
def claimed(stack: Stack) -> Iterator[None]:
    """Raises BadSetting, also if another supervisor has it. One that was killed holds nothing."""
    with writing(stack.folder):
        stack.folder.mkdir(parents=True, exist_ok=True)
        lock = (stack.folder / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSetting(
                f"`make run` or `make demo` runs on port {stack.port} already; "
                "stop it, or choose another one with PORT=…"
            ) from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            with suppress(OSError):
                (stack.folder / FACTS).unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises BadSetting when what is done within cannot be written to `folder`."""
    try:
        yield
    except OSError as error:
        # shutil's own, for a whole tree, has a list of what failed instead.
        reason = error.strerror or error.args[0][0][-1]
        shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
        raise BadSetting(
            f"the folder {shown} cannot be written ({reason}), and the stack keeps its configuration there; "
            "let this user write to it, free some space, or remove what stands in its place"
        ) from None


def write_facts(stack: Stack, nginx_version: str) -> None:
    """For `make verify`, which cannot learn these through the public port."""
    (stack.folder / FACTS).write_text(json.dumps({"url": stack.url, "nginx": nginx_version}))


def read_facts(port: int) -> dict[str, Any]:
    """None, if the file cannot be used: a supervisor that was killed may have left anything."""
    try:
        facts = json.loads((run_folder(port) / FACTS).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
