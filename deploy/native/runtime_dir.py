"""The directory with a stack's run-time files, locked for as long as the stack runs."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy import ROOT
from deploy.native.stack import Stack, runtime_dir
from deploy.settings.values import BadSetting

FACTS = "stack.json"


@contextmanager
def locked(stack: Stack) -> Iterator[None]:
    """Raises BadSetting, also if another supervisor holds the lock. The kernel frees that of a killed one."""
    with writing(stack.folder):
        stack.folder.mkdir(parents=True, exist_ok=True)
        lock = (stack.folder / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSetting(
                f"`make run` or `make demo` is already running on port {stack.port}; "
                "stop it, or choose another port with PORT=…"
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
    """Turns an OSError within into a BadSetting about `folder`."""
    try:
        yield
    except OSError as error:
        # shutil.copytree raises a list of failures instead.
        reason = error.strerror or error.args[0][0][-1]
        shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
        raise BadSetting(
            f"the directory {shown} cannot be written ({reason}); "
            "let this user write to it, free some space, or remove what is in its place"
        ) from None


def write_facts(stack: Stack, nginx_version: str) -> None:
    """For `make verify`, which cannot learn these through the public port."""
    (stack.folder / FACTS).write_text(json.dumps({"url": stack.url, "nginx": nginx_version}))


def read_facts(port: int) -> dict[str, Any]:
    """Empty if the file is missing or damaged: a supervisor that was killed may have left anything."""
    try:
        facts = json.loads((runtime_dir(port) / FACTS).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
