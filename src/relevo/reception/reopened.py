"""A stored message as hooks see it, what of it is in memory and the rest on disk, and changed.

Reading is blocking and is done in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.hooks.post_data import HookMessage
from relevo.mail import head_length
from relevo.queue.store import Content, MemoryContent
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MEMORY = 256 * 1024
"""Octets of the largest message that is read whole; of a larger one the header block."""


@dataclass(frozen=True, slots=True)
class JoinedContent:
    """Content whose first octets are others now."""

    start: bytes
    before: Content
    skipped: int  # octets of `before` that `start` stands for

    @property
    def size(self) -> int:
        return len(self.start) + self.before.size - self.skipped

    def chunks(self) -> Iterator[bytes]:
        yield self.start
        yield from _rest(self.before, self.skipped)

    def first(self, octets: int) -> bytes:
        if octets <= len(self.start):
            return self.start[:octets]
        wanted = octets - len(self.start)
        return self.start + self.before.first(self.skipped + wanted)[self.skipped :]


@dataclass(frozen=True, slots=True)
class Reopened:
    """A message of the store. `start` is all of a small one, the head and blank line of others."""

    content: Content
    start: bytes

    @classmethod
    def read(cls, content: Content, header_size: int) -> Reopened:
        """`header_size`: octets that the header had at most when it came. Blocking."""
        if content.size <= IN_MEMORY:
            return cls(content, b"".join(content.chunks()))
        head = content.first(2 * header_size + IN_MEMORY)  # with all that was added here
        return cls(content, head[: head_length(head) + 2])

    def message(self) -> HookMessage:
        """For hooks."""
        content, skipped = self.content, len(self.start)
        if content.size == skipped:
            return HookMessage(self.start)
        return HookMessage(self.start, lambda: _rest(content, skipped), content.size - skipped)

    def with_start(self, start: bytes, *, is_all: bool) -> Content:
        """The message with another start; `is_all`: nothing is behind it."""
        if is_all or self.content.size == len(self.start):
            return MemoryContent(start)
        if start == self.start:
            return self.content
        return JoinedContent(start, self.content, len(self.start))


def _rest(content: Content, skipped: int) -> Iterator[bytes]:
    for chunk in content.chunks():
        if skipped >= len(chunk):
            skipped -= len(chunk)
            continue
        yield chunk[skipped:] if skipped else chunk
        skipped = 0
