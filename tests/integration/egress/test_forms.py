"""Forms that could be read in two ways do not reach a cloud model."""

import re

import httpx
import pytest

from tests.fakes.ollama import FakeOllama


def form(*fields: tuple[str, str | None, str]) -> bytes:
    """A form field: its name, further parameters of its header, and its value."""
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{name}"{more or ""}\r\n\r\n{value}\r\n'
        for name, more, value in fields
    ]
    return "".join([*parts, "--B--\r\n"]).encode()


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (form(("model", None, "harmless")), ""),
        (form(("model", None, "own"), ("model", None, "harmless")), ""),
        (form(("model", None, "harmless"), ("model", None, "own")), ""),
        (form(("model", '; filename=""', "harmless")), ""),
        (form(("model", "; filename*=x", "harmless")), ""),
        (form(("model", '; name="x"; name="model"', "harmless")), ""),
        (form(("x", '; name="model"', "harmless")), ""),
        (form(("MODEL", None, "harmless")), ""),
        (form(("model", None, "gpt-oss:20b-cloud")), ""),
        (form(("model", "\r\nContent-Transfer-Encoding: quoted-printable", "harml=65ss")), ""),
        (form(("file", '; filename="a"\r\nContent-Transfer-Encoding: quoted-printable', "x")), ""),
        (form(("model", "\r\nContent-Type: text/plain; charset=utf-16", "harmless")), ""),
        (form(("model", "\r\nX:\r\n y", "harmless")), ""),
        (form(("x\\", '"; name="model', "harmless")), ""),
        (b"preamble\r\n" + form(("model", None, "harmless")), ""),
        (form(("model", None, "harmless")).replace(b"\r\n", b"\n"), ""),
        (form(("model", None, "own")) + form(("model", None, "harmless")), ""),
        (form(("model", None, "own"))[:-8] + form(("model", None, "harmless")), "model=own"),
        (form(("language", None, "en")), "model=harmless"),
        (form(("file", '; filename="a"', "x"), ("model*", None, "harmless")), ""),
    ],
)
def test_gateway_and_upstream_read_the_same_in_a_form(
    client: httpx.Client, fake: FakeOllama, body: bytes, query: str
) -> None:
    """It is refused, or what goes upstream is harmless."""
    before = len(fake.received)
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = client.post(f"/v1/audio/transcriptions?{query}", content=body, headers=headers)
    received = fake.received[before:]
    assert answer.status_code in (400, 403, 404) or received
    for request in received:
        assert "?" not in request.path
        assert request.body.count(b"boundary") == 0
        assert not re.search(rb'name="model"\r\n\r\nharmless', request.body), request.body
        assert b"Transfer-Encoding" not in request.body


def test_the_boundary_of_a_form_that_goes_upstream_is_the_gateways(
    client: httpx.Client, fake: FakeOllama
) -> None:
    body = form(("model", None, "own"))
    headers = {"Content-Type": "multipart/form-data; boundary=B; boundary*=utf-8''C"}
    client.post("/v1/audio/transcriptions", content=body, headers=headers)
    assert re.fullmatch(
        r"multipart/form-data; boundary=[0-9a-f]{32}", fake.received[-1].headers["content-type"]
    )
