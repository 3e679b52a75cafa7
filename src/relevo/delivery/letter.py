"""A message on its way into a transaction: whom it can be sent to, and its body.

For LMTP and for other servers; what they answer is judged elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from relevo.delivery.read_ahead import ReadAhead
from relevo.mail import Address, InvalidAddress, domain_to_ascii, parse_address
from relevo.queue.store import MemoryContent
from relevo.smtp.client_commands import format_path
from relevo.smtp.events import Path
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relevo.delivery.attempt import Result
    from relevo.queue.store import Content
    from relevo.smtp import Outgoing


class CannotBeSent(ValueError):
    """An address that the server cannot be given; the text is public."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A transaction to make, and the recipients for whom it cannot be made."""

    outgoing: Outgoing | None  # None: for nobody
    refused: Sequence[Result | None]  # by recipient; None: in `outgoing`

    def results(self, of_sent: Iterable[Result]) -> Sequence[Result]:
        """One result a recipient, from those of the recipients that were sent."""
        rest = iter(of_sent)
        return [next(rest) if refused is None else refused for refused in self.refused]


def body_of(content: Content) -> Iterable[bytes]:
    """The pieces of the message; from the disk, read ahead in a thread."""
    if isinstance(content, MemoryContent):
        return (content.data,)
    return ReadAhead(content.chunks())


@lru_cache(maxsize=4096)  # reverse-paths come again, and recipients with each try
def path_for(text: str, *, takes_utf8: bool) -> Path:
    """The address as the server can be told it. Raises CannotBeSent."""
    try:
        address = parse_address(text)
        path = _in_ascii(address) if not takes_utf8 else Path(address.local, address.domain)
        format_path(path)
    except InvalidAddress as error:
        raise CannotBeSent(f"is none: {error}") from error
    except CannotBeSent:
        raise
    except ValueError as error:
        raise CannotBeSent("cannot be written in a command") from error
    return path


def _in_ascii(address: Address) -> Path:
    if not address.local.isascii():
        raise CannotBeSent("is not ASCII, and the server takes no other (no SMTPUTF8)")
    return Path(address.local, domain_to_ascii(address.domain))
