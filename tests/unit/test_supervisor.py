import asyncio
import io
import os

from supervisor import Supervisor


async def test_a_line_of_any_length_is_shown_and_the_ones_after_it_too() -> None:
    shown = io.StringIO()
    reading, writing = os.pipe()
    showing = asyncio.create_task(Supervisor(shown)._show("engine", reading))
    with os.fdopen(writing, "wb") as program:
        await asyncio.to_thread(program.write, b"x" * 300_000 + b"\nafter\n")
    await showing
    assert shown.getvalue() == f"engine  | {'x' * 300_000}\nengine  | after\n"
