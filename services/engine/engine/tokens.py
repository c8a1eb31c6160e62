"""The tokens of a text, as llama.cpp has written them down.

Those of megabytes of text are millions of numbers of which only some hundreds are ever used, and decoding all
of them would hold the others up.
"""


class Tokens:
    def __init__(self, digits: bytes) -> None:
        self._digits = digits
        self.count = digits.count(b",") + 1 if digits else 0

    @classmethod
    def of_answer(cls, answer: bytes) -> "Tokens":
        """Of `{"tokens":[1,2,3]}`."""
        return cls(answer[answer.index(b"[") + 1 : answer.rindex(b"]")].strip())

    def after(self, others: list[int]) -> "Tokens":
        written = b",".join(b"%d" % token for token in others)
        return Tokens(b",".join(filter(None, (written, self._digits))))

    def ends(self, first: int, last: int) -> list[int]:
        """So many of the first and so many of the last."""
        if first + last >= self.count:
            return _numbers(self._digits)
        beginning = self._digits.split(b",", first)[:first]
        end = self._digits.rsplit(b",", last)[1:]
        return [int(token) for token in (*beginning, *end)]

    def all(self) -> list[int]:
        return _numbers(self._digits)


def _numbers(digits: bytes) -> list[int]:
    return [int(token) for token in digits.split(b",")] if digits else []
