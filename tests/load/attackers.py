"""Malicious clients that try to delay all others: `python -m tests.load.attackers bodies|readers PORT`.

They run in a separate process with low priority, so that they do not delay the measuring one. The last line
of output is JSON: how often each status came, and how often none.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter

from tests.load.bench.wire import FLOOD, SHORT

BYTES = 9_800_000  # below the limit for bodies
READERS = 300
WAVES = 2
BACKLOG_SECONDS = 2.0


def malicious_bodies() -> dict[str, bytes]:
    """Valid JSON of the largest accepted size, expensive to decode."""
    message = b'{"role":"user","content":"x"}'
    depth = BYTES // 2
    return {
        "empty lists": _body(message, b"[" + b"[]," * (BYTES // 3) + b"[]]"),
        "messages": _body(b",".join([message] * (BYTES // (len(message) + 1))), b"1"),
        "depth": _body(message, b"[" * depth + b"]" * depth),
        "keys": _body(message, b"{" + b",".join(b'"%x":0' % number for number in range(980_000)) + b"}"),
    }


def _body(messages: bytes, extra: bytes) -> bytes:
    return b'{"model":"%b","stream":true,"messages":[%b],"x":%b}' % (SHORT.encode(), messages, extra)


def send_bodies(port: int) -> Counter[str]:
    """Sends each body once, then five of each concurrently."""
    seen: Counter[str] = Counter()
    for body in malicious_bodies().values():
        for at_once in (1, 5):
            seen.update(asyncio.run(_statuses(port, body, at_once)))
    return seen


async def _statuses(port: int, body: bytes, at_once: int) -> list[str]:
    return await asyncio.gather(*(_status(port, body) for _ in range(at_once)))


async def _status(port: int, body: bytes) -> str:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
    except (OSError, TimeoutError):
        return "none"
    return answer[9:12].decode() or "none"


def leave_at_once(port: int) -> Counter[str]:
    """Clients that read nothing of the megabytes sent to them, and disconnect together."""
    seen: Counter[str] = Counter()
    for _ in range(WAVES):
        readers = [_ask_for_much(port) for _ in range(READERS)]
        time.sleep(BACKLOG_SECONDS)
        for reader in readers:
            status = reader.recv(12)[9:].decode()
            seen[status or "none"] += 1
        for reader in readers:
            reader.close()
    return seen


def _ask_for_much(port: int) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(60)
    reader.connect(("127.0.0.1", port))
    body = _body(b'{"role":"user","content":"x"}', b"1").replace(SHORT.encode(), FLOOD.encode(), 1)
    reader.sendall(b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    return reader


ATTACKS = {"bodies": send_bodies, "readers": leave_at_once}

if __name__ == "__main__":
    os.nice(19)
    print(json.dumps(ATTACKS[sys.argv[1]](int(sys.argv[2]))))
