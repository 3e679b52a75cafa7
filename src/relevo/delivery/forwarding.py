"""The reverse-path of mail that is forwarded: whose it is, and where bounces to it go.

Mail is forwarded when it came from outside for an address of ours and leaves for another server,
by an alias or a hook. Mail of users who have logged in is not, nor is mail for domains that we only
relay for, nor mail of our own domains. The reverse-path is decided when a message is accepted and
stands with each recipient; the message keeps its own, to which we send our DSNs.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from relevo.mail import Address, InvalidAddress, domain_to_ascii, srs
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY = 86_400


class Rewriting(Enum):
    """How the reverse-path of forwarded mail is made."""

    OFF = "off"
    CHASQUID = "chasquid"  # user+fwd_from=local=domain, without a way back to the sender
    SRS = "srs"


def _today() -> int:
    return int(time.time()) // _DAY


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The rules in force. `secret` signs the addresses of SRS."""

    rewriting: Rewriting
    secret: bytes
    is_local: Callable[[str], bool]
    today: Callable[[], int] = _today

    def for_sender(self, sender: Address, identity: str) -> Callable[[Address], str] | None:
        """Gives the reverse-path for mail that came for an address; "": the sender's own.

        None: it is that for all mail of this sender.
        """
        if self.rewriting is Rewriting.OFF or identity or sender.is_null or not sender.domain:
            return None
        if self.is_local(sender.domain):
            return None

        def reverse_path(original: Address) -> str:
            if not self.is_local(original.domain):
                return ""
            return str(self._rewritten(sender, original) or "")

        return reverse_path

    def sender_behind(self, local: str) -> Address | None:
        """Where a bounce for such a local part of ours goes; None: it is an ordinary one.

        Raises NotOurs.
        """
        if self.rewriting is not Rewriting.SRS or not srs.is_srs(local):
            return None
        sender = srs.back(local, secret=self.secret, day=self.today())
        if self.is_local(sender.domain) and srs.is_srs(sender.local):
            # the message came here twice: the first forwarder, whom SRS1 names, is this server
            sender = srs.back(sender.local, secret=self.secret, day=self.today())
        return sender

    def _rewritten(self, sender: Address, original: Address) -> Address | None:
        match self.rewriting:
            case Rewriting.SRS:
                return srs.forward(sender, original.domain, secret=self.secret, day=self.today())
            case Rewriting.CHASQUID:
                try:
                    domain = domain_to_ascii(sender.domain)
                except InvalidAddress:
                    return None
                flat = f"{sender.local}={domain}".replace("@", "=")
                return Address(f"{original.local}+fwd_from={flat}", original.domain)
            case Rewriting.OFF:
                return None
            case unreachable:
                assert_never(unreachable)


NO_FORWARDING = Forwarding(Rewriting.OFF, b"", lambda _domain: False)
