"""OpenAI's `background`: whether a response is to be made without a connection that waits for it."""

from ..errors import InvalidRequest
from .edits import Edits
from .fields import Fields, fields_of
from .json_spans import Steps


def in_background(fields: Fields) -> bool:
    """Raises InvalidRequest."""
    if not all(value is None or isinstance(value, bool) for value in fields.every("background")):
        raise InvalidRequest("background: send true or false")
    return fields.get("background") is True


def streamed(body: bytes) -> Steps[bytes]:
    """A JSON body that asks for a stream, whatever its client wants: so the answer can be read as it grows.

    A `stream` that is no boolean is left for the model server to refuse. Raises InvalidRequest.
    """
    fields = yield from fields_of(body)
    spans = [span for name, span in fields.members if name.casefold() == "stream"]
    edits = Edits(body, "sets stream")
    for span in spans:
        value = fields.value(span)
        if value is None or value is False:
            edits.replace(span, b"true")
    if not spans:
        edits.add(fields.members, body.index(b"{"), b'"stream":true')
    return edits.applied()
