import json

from engine.inference.sse import SSEDecoder

# U+2028 and U+0085 are line ends to str.splitlines, which is why it is not used.
STREAM = (
    'data: {"a": 1}\n\n: a comment\n\ndata: {"b": "x\\ny \u2028 \u0085 é"}\r\n\r\ndata: [DONE]\n\n'
).encode()
EVENTS = [b'{"a": 1}', '{"b": "x\\ny \u2028 \u0085 é"}'.encode(), b"[DONE]"]


def test_any_cut_in_two_gives_the_same_events() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = SSEDecoder()
        assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == EVENTS


def test_single_bytes_give_the_same_events() -> None:
    decoder = SSEDecoder()
    assert [event for byte in STREAM for event in decoder.feed(bytes([byte]))] == EVENTS


def test_a_long_event_is_put_together_from_many_parts() -> None:
    text = "x" * 1_000_000
    data = f"data: {json.dumps(text)}\n\n".encode()
    decoder = SSEDecoder()
    events = [event for i in range(0, len(data), 1000) for event in decoder.feed(data[i : i + 1000])]
    assert [json.loads(event) for event in events] == [text]


def test_an_event_without_its_end_is_not_given_out() -> None:
    assert SSEDecoder().feed(b'data: {"a": 1}') == []
