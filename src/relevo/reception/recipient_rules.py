"""What a forward-path is to us, decided at RCPT from memory alone.

The relay decision is here: mail for an address that is not ours is taken from who has logged in,
from clients of `relay.networks`, and for the domains of `[[relay_domain]]`; from nobody else and
for nothing else. A forward-path with routing in its local part (`user%other@ours`, `@a,@b:…`) is
an ordinary address of the domain that it names last.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from relevo.mail import Address, InvalidAddress, InvalidUser, normalize_domain
from relevo.mail.srs import NotOurs
from relevo.reception import answers
from relevo.reception.answers import Answer
from relevo.reception.networks import is_within
from relevo.reception.post_data import MAX_ADDRESS
from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.reception.services import Services
    from relevo.smtp.events import Path

FOR_BOUNCES_ONLY = Answer(550, "5.7.1", "This address takes only bounces of mail forwarded here")
NOT_A_BOUNCE = Answer(550, "5.1.1", "No mail of this sender was forwarded here lately")


class Kind(Enum):
    """What is to be done about a forward-path."""

    OURS = auto()  # asked whether it exists
    RELAYED = auto()  # taken as it is
    VERIFIED = auto()  # asked of the domain's list or server


@dataclass(frozen=True, slots=True)
class Found:
    """A forward-path that may be taken. `redirect`: where mail for it goes instead."""

    kind: Kind
    address: Address
    redirect: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """One that may not; `written`: as the client wrote it; `reason`: for the log."""

    answer: Answer
    written: str
    reason: str = ""


def classify(
    path: Path, services: Services, *, identity: str, client_ip: str, reverse_path: Address
) -> Found | Refused:
    """What a forward-path is."""
    directory = services.directory()
    if not path.domain:
        postmaster = directory.postmaster()
        if postmaster is None:
            return Refused(answers.RECIPIENT_UNKNOWN, path.local)
        is_ours = directory.is_local(postmaster.domain)
        return Found(Kind.OURS if is_ours else Kind.RELAYED, postmaster)
    written = f"{path.local}@{path.domain}"
    try:
        domain = normalize_domain(path.domain)
    except InvalidAddress:
        return Refused(answers.BAD_RECIPIENT_DOMAIN, written)
    if len(written.encode()) > MAX_ADDRESS:
        return Refused(answers.RECIPIENT_TOO_LONG, written)
    if not directory.is_local(domain):
        if identity or is_within(client_ip, services.config.relay.networks):
            return Found(Kind.RELAYED, Address(path.local, domain))
        if domain in services.relay_domains:
            return Found(Kind.VERIFIED, Address(path.local, domain))
        return Refused(answers.RELAY_NOT_ALLOWED, written)
    try:
        sender = services.forwarding.sender_behind(path.local)
        if sender is not None:
            if not reverse_path.is_null:
                return Refused(FOR_BOUNCES_ONLY, written)
            return Found(Kind.RELAYED, Address(path.local, domain), (sender,))
        return Found(Kind.OURS, directory.normalize_recipient(path.local, domain))
    except NotOurs as error:
        return Refused(NOT_A_BOUNCE, written, f"{NOT_A_BOUNCE.text}: {error}")
    except InvalidUser:
        return Refused(answers.RECIPIENT_INVALID, written)
