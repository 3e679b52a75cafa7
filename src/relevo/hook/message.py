"""The message as a hook in Python sees it."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from functools import cached_property

from relevo.hook.tolerant_policy import TOLERANT


class Message:
    """The whole message with LF line ends, our trace fields on top; parsed when that is asked."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    @cached_property
    def _end_of_head(self) -> int:
        if self.octets.startswith(b"\n"):
            return 0
        found = self.octets.find(b"\n\n")
        return len(self.octets) if found < 0 else found + 1

    @property
    def head(self) -> bytes:
        """The header block, each field with its LF."""
        return self.octets[: self._end_of_head]

    @property
    def body(self) -> bytes:
        """What follows the blank line, undecoded."""
        return self.octets[self._end_of_head + 1 :]

    @cached_property
    def parsed(self) -> EmailMessage:
        """With all its parts. Never raises for what the message holds."""
        return BytesParser(EmailMessage, policy=TOLERANT).parsebytes(self.octets)

    @cached_property
    def fields(self) -> EmailMessage:
        """Its header alone, which costs less."""
        return BytesParser(EmailMessage, policy=TOLERANT).parsebytes(self.head)
