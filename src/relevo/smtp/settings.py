"""What a listener offers to its sessions, and the limits that the protocol machine keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.smtp.wishes import WishOffers


def ignore(_what: object) -> None:
    """Counts nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What a listener offers. One value a listener and TLS server name, shared by its sessions."""

    hostname: str
    max_size: int  # octets on the wire; 0: no limit
    requires_auth: bool = False  # submission: MAIL needs AUTH first
    is_lmtp: bool = False
    offers_starttls: bool = False
    offers_chunking: bool = True
    offers_binarymime: bool = False
    offers_dsn: bool = True
    offers_requiretls: bool = False  # on TLS (RFC 8689)
    offers_xclient: bool = False  # to this peer
    wishes: WishOffers | None = None  # to clients that are trusted with the queue
    mechanisms: tuple[str, ...] = ()  # upper case; offered only on TLS
    max_recipients: int = 101  # accepted in one transaction; the next gets 452
    max_errors: int = 3  # the last of these is answered 421
    max_rejected_recipients: int = 100  # one more is answered 421
    max_idle_commands: int = 1000  # other than RCPT, DATA, BDAT, since the last accepted message
    software: str = "relevo"
    # Told of each command's verb in capitals, also of unknown ones, and of the code of each reply
    # but the greeting. On the path of every command: they should only count.
    count_command: Callable[[bytes], None] = field(default=ignore, compare=False, repr=False)
    count_reply: Callable[[int], None] = field(default=ignore, compare=False, repr=False)
