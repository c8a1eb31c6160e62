"""Server-Sent Events out of bytes, however the bytes are cut."""


class Frames:
    """Collects the `data` of events. llama.cpp writes each on one line, which ends in \\n."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
