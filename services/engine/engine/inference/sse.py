"""Decodes server-sent events from bytes, wherever the reads split them."""


class SSEDecoder:
    """Returns the `data` of each event. llama.cpp writes it on one line that ends with \\n."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
