"""The events of one answer, numbered from 1, as the bytes that its readers are sent."""

import re
from array import array

# The standard's other line ends have been normalised: see `EventSplitter`. A pattern for them all would take
# ten times as long, 70 ms for the longest answer.
_END = re.compile(rb"\n\n")


class EventLog:
    """Positions are offsets from the beginning of the answer, whatever has been forgotten. `is_whole` is
    whether nothing has. Events are found when somebody asks for one, not when they are added.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q")  # the position after each event that has been found
        self.start = 0
        self.is_whole = True

    @property
    def end(self) -> int:
        return self.start + len(self._bytes)

    def append(self, frames: bytes) -> None:
        """Adds the frames of one or more whole events."""
        self._bytes += frames

    def after(self, event: int) -> int:
        """The position after an event; 0 is the beginning. Raises IndexError if it has not been yet."""
        self._find()
        return self._ends[event - 1] if event else 0

    def last(self) -> bytes:
        """The last event. Raises IndexError if there is none."""
        self._find()
        start = self._ends[-2] if len(self._ends) > 1 else 0
        return self.read(start, self._ends[-1] - start)

    def read(self, position: int, most: int) -> bytes:
        """What comes after a position that is not forgotten, at most so many bytes."""
        at = position - self.start
        return bytes(self._bytes[at : at + most])

    def events(self, position: int, most: int) -> bytes:
        """The same in whole events: as many as there is room for, but at least one if there is any."""
        at = position - self.start
        if len(self._bytes) <= at + most:
            return bytes(self._bytes[at:])
        end = self._bytes.rfind(b"\n\n", at, at + most)
        if end < 0:
            end = self._bytes.find(b"\n\n", at + most - 1)
        return bytes(self._bytes[at : end + 2])

    def forget(self, position: int) -> None:
        """Free what comes before a position, and the numbers of all events."""
        del self._bytes[: position - self.start]
        del self._ends[:]
        self.start, self.is_whole = position, False

    def _find(self) -> None:
        found = self._ends[-1] if self._ends else 0
        self._ends.extend(match.end() for match in _END.finditer(self._bytes, found))
