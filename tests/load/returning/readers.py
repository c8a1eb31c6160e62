"""What a client reads of one answer, over any number of connections."""

import asyncio
import random
from dataclasses import dataclass, field

import httpx

# Begins a frame that is part of the answer; status events, comments and `retry` are not.
PART = b"id: "
END = b"\n\n"


@dataclass
class Reader:
    """`frames` are the whole events it has read; `pause` is how many seconds it waits after each piece."""

    pause: float = 0
    frames: list[bytes] = field(default_factory=list)

    @property
    def seen(self) -> str:
        """The id of the last event, as an EventSource says it when it comes back."""
        if not self.frames:
            return "0"
        return self.frames[-1].split(b"\n", 1)[0].removeprefix(PART).decode()

    @property
    def content(self) -> bytes:
        return b"".join(self.frames)

    async def read(self, response: httpx.Response, most: int | None) -> None:
        """Read at most so many bytes, None: all; what then is not a whole event is lost."""
        body = b""
        if most != 0:
            async for piece in response.aiter_raw():
                body += piece
                if most is not None and len(body) >= most:
                    break
                await asyncio.sleep(self.pause)
        *frames, _ = body[:most].split(END)
        self.frames += [frame + END for frame in frames if frame.startswith(PART)]

    async def read_on(
        self, http: httpx.AsyncClient, location: str, most: int | None, chance: random.Random
    ) -> int:
        """Come back, saying in one of two ways what it has seen; returns the status."""
        headers, params = {"Last-Event-ID": self.seen}, {"after": self.seen}
        if chance.random() < 0.5:
            request = http.build_request("GET", location, headers=headers)
        else:
            request = http.build_request("GET", location, params=params)
        response = await http.send(request, stream=True)
        try:
            if response.status_code == 200:
                await self.read(response, most)
            return response.status_code
        finally:
            await response.aclose()
