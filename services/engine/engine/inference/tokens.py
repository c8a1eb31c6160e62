"""The tokens of a text, kept as the digits that llama.cpp sent.

Megabytes of text are millions of tokens, of which only a few hundred are used. Decoding all of them would
block the event loop.
"""


class Tokens:
    def __init__(self, digits: bytes) -> None:
        self._digits = digits
        self.count = digits.count(b",") + 1 if digits else 0

    @classmethod
    def from_answer(cls, answer: bytes) -> "Tokens":
        """From `{"tokens":[1,2,3]}`."""
        return cls(answer[answer.index(b"[") + 1 : answer.rindex(b"]")].strip())

    def after(self, earlier: list[int]) -> "Tokens":
        """The earlier tokens, followed by these."""
        digits = b",".join(b"%d" % token for token in earlier)
        return Tokens(b",".join(filter(None, (digits, self._digits))))

    def head_and_tail(self, head: int, tail: int) -> list[int]:
        """This many of the first tokens and of the last ones; all of them if there are no more."""
        if head + tail >= self.count:
            return self.all()
        first = self._digits.split(b",", head)[:head]
        last = self._digits.rsplit(b",", tail)[1:]
        return [int(token) for token in (*first, *last)]

    def all(self) -> list[int]:
        return [int(token) for token in self._digits.split(b",")] if self._digits else []
