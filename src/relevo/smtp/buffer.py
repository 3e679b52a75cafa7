"""The octets received and not yet consumed.

An aligned read is kept as the `bytes` it came in and handed out uncopied; only what arrives in
pieces is joined. Joining costs O(n) over any cutting: a remainder is copied only onto a read at
least as long, else appended in place. Lines are searched from where the last search ended.
"""

from __future__ import annotations


class InputBuffer:
    """First in, first out; `start` is the offset of the first octet in `octets`.

    When the last octet is taken, `octets` is empty.
    """

    __slots__ = ("_searched", "octets", "start")

    def __init__(self) -> None:
        self.octets: bytes | bytearray = b""
        self.start = 0
        self._searched = 0

    def __len__(self) -> int:
        return len(self.octets) - self.start

    def append(self, data: bytes) -> None:
        """Add a read."""
        left = len(self.octets) - self.start
        if left == 0:
            self.octets = data
            self.start = self._searched = 0
            return
        if left <= len(data):
            self.octets = bytes(self.octets[self.start :]) + data
        else:
            if isinstance(self.octets, bytes):
                self.octets = bytearray(self.octets[self.start :])
            else:
                del self.octets[: self.start]
            self.octets += data
        self._searched = max(self._searched - self.start, 0)
        self.start = 0

    def clear(self) -> None:
        self.octets = b""
        self.start = self._searched = 0

    def skip(self, count: int) -> None:
        """Drop the first `count` octets."""
        self.start += count
        if self.start >= len(self.octets):
            self.octets = b""
            self.start = self._searched = 0

    def take(self, count: int) -> bytes:
        """Remove and return the first `count` octets, or all there are."""
        end = self.start + count
        if isinstance(self.octets, bytes):
            data = self.octets[self.start : end]  # the whole of it is no copy
        else:
            with memoryview(self.octets) as view:
                data = bytes(view[self.start : end])
        self.skip(count)
        return data

    def take_line(self) -> bytes | None:
        """Remove and return the octets up to and with the first LF, None when there is none.

        Each octet is searched once, however many calls it takes.
        """
        octets, start = self.octets, self.start
        end = octets.find(b"\n", max(start, self._searched)) + 1
        if not end:
            self._searched = len(octets)
            return None
        line = octets[start:end]
        if end == len(octets):
            self.octets = b""
            self.start = self._searched = 0
        else:
            self.start = end
        return line if isinstance(line, bytes) else bytes(line)
