"""Requests that two servers might interpret differently, byte for byte."""

import json

BODY = json.dumps({"model": "good", "messages": [{"role": "user", "content": "hi"}]}).encode()
SIZE = len(BODY)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)
# A second request on the same connection. After it the connection is closed.
NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def request(*headers: bytes, body: bytes = BODY, start: bytes = b"POST /chat HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: x", *headers, b"", body])


def chunked(body: bytes, header: bytes = b"Transfer-Encoding: chunked") -> bytes:
    return request(header, body=body)


LENGTH = b"Content-Length: %d" % SIZE
# As Java's client sends it in every request until the server has answered without upgrading.
H2C = (
    b"Connection: Upgrade, HTTP2-Settings",
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
    b"Upgrade: h2c",
)
REFUSED = {
    "a length and chunks": request(LENGTH, b"Transfer-Encoding: chunked", body=CHUNKED),
    "chunks and a length": request(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=CHUNKED),
    "two lengths": request(LENGTH, b"Content-Length: 5"),
    "the same length twice": request(LENGTH, LENGTH),
    "a list of lengths": request(b"Content-Length: %d, %d" % (SIZE, SIZE)),
    "a negative length": request(b"Content-Length: -5"),
    "a length with a plus": request(b"Content-Length: +%d" % SIZE),
    "a hexadecimal length": request(b"Content-Length: 0x%x" % SIZE),
    "a length in two words": request(b"Content-Length: %d 0" % SIZE),
    "an empty length": request(b"Content-Length: "),
    "a length beyond 64 bits": request(b"Content-Length: %d" % (2**64 + SIZE)),
    "a huge length": request(b"Content-Length: 99999999999999999999999999"),
    "a folded header": request(b"X-A: b\r\n c", LENGTH),
    "a folded length": request(b"Content-Length:\r\n %d" % SIZE),
    "a folded encoding": request(b"Transfer-Encoding:\r\n chunked", body=CHUNKED),
    "a space before the colon": request(b"Content-Length : %d" % SIZE),
    "a space before the encoding's colon": request(b"Transfer-Encoding : chunked", body=CHUNKED),
    "a header before the first": b"POST /chat HTTP/1.1\r\n X: y\r\nHost: x\r\n" + LENGTH + b"\r\n\r\n" + BODY,
    "a header without a name": request(b": a", LENGTH),
    "a bare CR": request(b"X-A: b\rContent-Length: 5", LENGTH),
    "NUL in a header": request(b"X-A: a\0b", LENGTH),
    "NUL in a header's name": request(b"X-\0A: b", LENGTH),
    "a control character in a header": request(b"X-A: a\x01b", LENGTH),
    "chunked, then identity": chunked(CHUNKED, b"Transfer-Encoding: chunked, identity"),
    "chunked and identity": chunked(CHUNKED, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    "chunked twice": chunked(CHUNKED, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    "xchunked": chunked(CHUNKED, b"Transfer-Encoding: xchunked"),
    "xchunked with a length": request(b"Transfer-Encoding: xchunked", LENGTH),
    "identity": request(b"Transfer-Encoding: identity", LENGTH),
    "chunked in quotes": chunked(CHUNKED, b'Transfer-Encoding: "chunked"'),
    "chunked behind a vertical tab": chunked(CHUNKED, b"Transfer-Encoding: \x0bchunked"),
    "a chunk size that is none": chunked(b"zz\r\n%b\r\n0\r\n\r\n" % BODY),
    "a negative chunk size": chunked(b"-%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "a chunk size with a plus": chunked(b"+%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "a chunk size with 0x": chunked(b"0x%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "a chunk size beyond 64 bits": chunked(b"1%016x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "a chunk that is longer than it says": chunked(b"%x\r\n%bXX\r\n0\r\n\r\n" % (SIZE, BODY)),
    "a bare LF in a chunk's extension": chunked(b"%x;a\nb\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "chunks with bare LFs": chunked(b"%x\n%b\n0\n\n" % (SIZE, BODY)),
    "HTTP/0.9": b"GET /api/version\r\n\r\n",
    "HTTP/2 in HTTP/1's clothes": request(LENGTH, start=b"POST /chat HTTP/2.0"),
    "http/1.1": request(LENGTH, start=b"POST /chat http/1.1"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in lower case": request(LENGTH, start=b"post /chat HTTP/1.1"),
    "an unknown method": request(LENGTH, start=b"SMUGGLE /chat HTTP/1.1"),
    "tabs in the first line": request(LENGTH, start=b"POST\t/chat\tHTTP/1.1"),
    "bytes in the path": request(start=b"GET /v1/models/\xff HTTP/1.1", body=b""),
    "bytes in the query": request(start=b"GET /api/version?\xff HTTP/1.1", body=b""),
    "CONNECT": request(start=b"CONNECT elsewhere:80 HTTP/1.1", body=b""),
    "CONNECT with an offer": request(*H2C, LENGTH, start=b"CONNECT elsewhere:80 HTTP/1.1"),
}
# Refused by only one of the two servers. The other one reads it correctly and passes on nothing malformed.
REFUSED_BY_NGINX = {
    "two hosts": request(b"Host: y", LENGTH),
    "no host": b"POST /chat HTTP/1.1\r\n" + LENGTH + b"\r\n\r\n" + BODY,
    "a host with a path": b"POST /chat HTTP/1.1\r\nHost: x/api/pull?\r\n" + LENGTH + b"\r\n\r\n" + BODY,
    "chunked behind a tab": chunked(CHUNKED, b"Transfer-Encoding:\tchunked"),
    "gzip, then chunked": chunked(CHUNKED, b"Transfer-Encoding: gzip, chunked"),
    "chunks in HTTP/1.0": request(b"Transfer-Encoding: chunked", body=CHUNKED, start=b"POST /chat HTTP/1.0"),
    "all hosts": request(start=b"OPTIONS * HTTP/1.1", body=b""),
    "NUL in the path": request(start=b"GET /api/version%00 HTTP/1.1", body=b""),
}
REFUSED_BY_GATEWAY = {
    "bare LFs": request(LENGTH).replace(b"\r\n", b"\n"),
    "one bare LF": request(b"X-A: b\nX-B: c", LENGTH),
    "a space behind a chunk's size": chunked(b"%x \r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)),
    "a length in the trailer": chunked(b"%x\r\n%b\r\n0\r\nContent-Length: 3\r\n\r\n" % (SIZE, BODY)),
    "a header without a colon": request(b"abc", LENGTH),
    "HTTP/1.10": request(LENGTH, start=b"POST /chat HTTP/1.10"),
}
SEEN_ALIKE = {
    "a length": request(LENGTH),
    "chunks": chunked(CHUNKED),
    "chunks in capitals": chunked(CHUNKED, b"TRANSFER-ENCODING: CHUNKED"),
    "many chunks": chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"),
    "a chunk's extension": chunked(b"%x;a=b\r\n%b\r\n0;c\r\n\r\n" % (SIZE, BODY)),
    "a chunk size with zeros": chunked(b"000%x\r\n%b\r\n000\r\n\r\n" % (SIZE, BODY)),
    "a trailer": chunked(b"%x\r\n%b\r\n0\r\nX-Api-Key: a\r\n\r\n" % (SIZE, BODY)),
    "a length with zeros": request(b"Content-Length: 000%d" % SIZE),
    "another name of the encoding": request(b"Transfer_Encoding: chunked", LENGTH),
    "an absolute address": request(LENGTH, start=b"POST http://elsewhere/chat HTTP/1.1"),
    "empty lines first": b"\r\n\r\n" + request(LENGTH),
    "a continuation asked for": request(b"Expect: 100-continue", LENGTH),
    "a path with doubled slashes": request(LENGTH, start=b"POST //chat HTTP/1.1"),
    "a path with a slash at its end": request(LENGTH, start=b"POST /chat/ HTTP/1.1"),
    "HTTP/2 offered": request(*H2C, LENGTH),
    "HTTP/2 offered, with chunks": request(*H2C, b"Transfer-Encoding: chunked", body=CHUNKED),
    "HTTP/2 offered, with a continuation asked for": request(*H2C, b"Expect: 100-continue", LENGTH),
    "HTTP/2 offered in capitals": request(b"CONNECTION: UPGRADE", b"UPGRADE: H2C", LENGTH),
    "WebSocket offered": request(
        b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: eA==", LENGTH
    ),
    "two protocols offered": request(
        b"Upgrade: foo/2", b"Connection: foo", b"Connection: upgrade", b"Upgrade: bar", LENGTH
    ),
}


def many(count: int, size: int) -> list[bytes]:
    return [b"X-%d: %b" % (number, b"a" * size) for number in range(count)]


# The server, the bytes, and the status of the answer.
LARGE_HEADS = {
    "one header at nginx": ("nginx", request(*many(1, 33_000), LENGTH), b"431"),
    "all headers at nginx": ("nginx", request(*many(10, 7_000), LENGTH), b"431"),
    "many headers at nginx": ("nginx", request(*many(10_000, 1), LENGTH), b"431"),
    "the path at nginx": ("nginx", request(start=b"GET /%b HTTP/1.1" % (b"a" * 8_200)), b"414"),
    "all of it at nginx": ("nginx", request(*many(1, 2_000_000), LENGTH), b"431"),
    "the whole path at nginx": ("nginx", request(start=b"GET /%b HTTP/1.1" % (b"a" * 2_000_000)), b"414"),
    "one header at the gateway": ("gateway", request(*many(1, 2_000_000), LENGTH), b"431"),
    "all headers at the gateway": ("gateway", request(*many(1000, 2_000), LENGTH), b"431"),
    "the path at the gateway": ("gateway", request(start=b"GET /%b HTTP/1.1" % (b"a" * 2_000_000)), b"431"),
}
# Incomplete requests, after which the client sends nothing more.
SLOW = {
    "nothing": b"",
    "empty lines": b"\r\n\r\n",
    "half a line": b"POST /ch",
    "half a head": b"POST /chat HTTP/1.1\r\nHost: x\r\nX-A: ",
    "half a body": request(LENGTH, body=BODY[:5]),
    "half of the chunks": request(b"Transfer-Encoding: chunked", body=CHUNKED[:-5]),
    "half an upload": request(LENGTH, body=BODY[:5], start=b"POST /api/blobs/sha256:0 HTTP/1.1"),
    "half a second request": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT",
}
