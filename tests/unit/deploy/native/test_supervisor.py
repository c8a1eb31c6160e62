"""The supervisor with small programs: what it shows, and what it says of those that fail."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.native.output_writer import OutputWriter
from deploy.native.program import Program
from deploy.native.supervisor import ProgramFailed, Stopped, Supervisor
from tests.fakes.ollama import FakeOllama
from tests.processes import wait_until

NOBODY = "http://127.0.0.1:1"  # where nothing listens


@pytest.fixture
def ready_url() -> Iterator[str]:
    with FakeOllama().running() as fake:
        yield f"{fake.url}/api/tags"


def program(code: str, ready_url: str) -> Program:
    return Program("engine", [sys.executable, "-c", code], {}, ready_url, stop_seconds=10)


@asynccontextmanager
async def supervisor(shown: Path) -> AsyncIterator[Supervisor]:
    with shown.open("wb") as file:
        output = OutputWriter(file.fileno())
        running = Supervisor(output)
        try:
            yield running
        finally:
            await running.stop()
            output.close()


async def test_a_line_of_any_length_is_shown_and_the_ones_after_it_too(tmp_path: Path) -> None:
    async with supervisor(tmp_path / "shown") as running:
        with pytest.raises(ProgramFailed) as failed:
            await running.start(program("print('x' * 300_000 + '\\nafter\\nunfinished', end='')", NOBODY), 30)
        assert len(str(failed.value)) < 2000
    shown = (tmp_path / "shown").read_text()
    assert shown == f"engine  | {'x' * 300_000}\nengine  | after\nengine  | unfinished\n"


async def test_a_program_that_ends_at_the_start_is_named_with_its_last_lines(tmp_path: Path) -> None:
    code = "import sys; [print(f'line {n}.') for n in range(40)]; sys.exit('out of memory')"
    async with supervisor(tmp_path / "shown") as running:
        with pytest.raises(ProgramFailed) as failed:
            await running.start(program(code, NOBODY), 30)
    assert str(failed.value).startswith("engine (exit status 1) ended by itself, so the stack was stopped.")
    assert str(failed.value).endswith("  line 39.\n  out of memory")
    assert "line 20." not in str(failed.value)


async def test_a_program_that_is_never_ready_is_named_with_its_last_lines(tmp_path: Path) -> None:
    async with supervisor(tmp_path / "shown") as running:
        with pytest.raises(
            ProgramFailed, match=r"engine was not ready within 1 s \(its last answer: nothing"
        ):
            await running.start(program("import time; time.sleep(60)", NOBODY), 1)


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = Program("nginx", ["/nowhere/nginx"], {}, NOBODY, stop_seconds=1)
    async with supervisor(tmp_path / "shown") as running:
        with pytest.raises(ProgramFailed, match=r"nginx cannot be started \(/nowhere/nginx: No such file"):
            await running.start(missing, 1)


async def test_a_stop_while_a_program_starts_is_no_failure_of_it_and_leaves_nothing(tmp_path: Path) -> None:
    async with supervisor(tmp_path / "shown") as running:
        asyncio.get_running_loop().call_later(0.2, running.stopping.set)
        with pytest.raises(Stopped):
            await running.start(program("import time; time.sleep(60)", NOBODY), 30)
        (started,) = running.running
    with pytest.raises(ProcessLookupError):
        os.killpg(started.process.pid, 0)


async def test_stopping_does_not_wait_for_what_has_left_the_group_and_holds_the_output(
    tmp_path: Path, ready_url: str
) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDWR)  # it ends when this is closed
    stays = "import sys; sys.stdin.read()"
    code = (
        "import subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {stays!r}], stdin=open('{tmp_path}/held'), "
        "start_new_session=True); print('it holds it', flush=True); time.sleep(60)"
    )
    async with supervisor(tmp_path / "shown") as running:
        await running.start(program(code, ready_url), 10)
        shown = tmp_path / "shown"
        await asyncio.to_thread(wait_until, lambda: "it holds it" in shown.read_text(), 10, "it is held")
        async with asyncio.timeout(30):
            await running.stop()
    os.close(held)


async def test_a_program_that_restarts_is_started_again_and_the_others_go_on(
    tmp_path: Path, ready_url: str
) -> None:
    other = program("import time; time.sleep(60)", ready_url)
    again = replace(other, name="engine2", restarts=True, pid_file=tmp_path / "pid")
    async with supervisor(tmp_path / "shown") as running:
        await running.start(other, 10)
        await running.start(again, 10)
        first = int((tmp_path / "pid").read_text())
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: _pid(tmp_path / "pid") not in (0, first), 10, "it again")
        assert [each.process.returncode for each in running.running] == [None, None]
        assert not running.stopping.is_set()
    assert "engine2 ended by itself (exit status -9); it is started again" in (tmp_path / "shown").read_text()
    assert not (tmp_path / "pid").exists()


def _pid(file: Path) -> int:
    """0 while there is none."""
    return int(file.read_text() or 0) if file.exists() else 0


async def test_a_program_that_keeps_ending_is_started_after_growing_pauses(
    tmp_path: Path, ready_url: str
) -> None:
    code = f"open('{tmp_path}/starts', 'a').write('x'); import time; time.sleep(1)"
    shown = tmp_path / "shown"
    async with supervisor(shown) as running:
        await running.start(replace(program(code, ready_url), restarts=True), 10)
        await asyncio.to_thread(wait_until, lambda: "in 4 s" in shown.read_text(), 30, "the third pause")
        stopped = asyncio.get_running_loop().time()
        await running.stop()
        assert asyncio.get_running_loop().time() - stopped < 2
    assert (tmp_path / "starts").read_text() == "xxx"
    assert [f"again in {pause} s" in shown.read_text() for pause in (1, 2, 4)] == [True] * 3


async def test_a_program_that_restarts_but_was_never_ready_is_a_failure(tmp_path: Path) -> None:
    async with supervisor(tmp_path / "shown") as running:
        with pytest.raises(ProgramFailed, match="so the stack was stopped"):
            await running.start(replace(program("", NOBODY), restarts=True), 30)
