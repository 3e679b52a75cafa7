"""What a look-up gives back: an `Answer` for found and for absent, `DnsFailed` for unknown-now.

Three outcomes, never mixed: records were found; they do not exist (the name has none of this type,
or there is no such name); nobody could say. The last is an exception, so that it is never read as
an absence.

Records come from whoever runs the zone: their names are printable ASCII without blanks (others are
left out), their texts are any octets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar


class DnsFailed(Exception):
    """No server could say: temporary.

    `question` may be shown to anyone; `detail`, also in the text, names our servers.
    """

    def __init__(self, question: str, detail: str) -> None:
        super().__init__(f"{question}: {detail}")
        self.question = question
        self.detail = detail


class Outcome(Enum):
    """How a look-up ended."""

    FOUND = auto()
    NO_RECORDS = auto()  # the name exists, or what is below it; not with records of this type
    NO_SUCH_NAME = auto()  # NXDOMAIN


@dataclass(frozen=True, slots=True)
class MailExchange:
    """An MX record. `host` is "" in a null MX (RFC 7505), else a name without trailing dot."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """A TLSA record (RFC 6698 §2.1), whatever its numbers mean."""

    usage: int
    selector: int
    matching_type: int
    data: bytes


Record = IPv4Address | IPv6Address | MailExchange | TlsaRecord | bytes | str
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """Found or absent; `records` is empty exactly when absent.

    `ttl_s` is what the answer had when it arrived, its CNAMEs and, when absent, the SOA's minimum
    taken into account. `is_authenticated`: a server that we may trust in this vouched for it by
    DNSSEC.
    """

    outcome: Outcome
    records: tuple[R, ...]
    ttl_s: int
    is_authenticated: bool
    canonical: str = ""  # the name at the end of the aliases that were followed; "": none was

    def __post_init__(self) -> None:
        if bool(self.records) != (self.outcome is Outcome.FOUND):
            raise ValueError("records and outcome of an answer contradict each other")


class DnsLookups(Protocol):
    """What the rest of the server asks DNS. Names are text, with A-labels or U-labels.

    Every method raises DnsFailed; one asked for what cannot be a name in DNS says NO_SUCH_NAME.
    """

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined (RFC 7208 §3.3)."""

    async def a(self, name: str) -> Answer[IPv4Address]:
        """IPv4 addresses."""

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        """IPv6 addresses."""

    async def mx(self, name: str) -> Answer[MailExchange]:
        """Mail exchanges, in the order of the answer."""

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        """Names that the owner of an address claims for it; unverified."""


class SecureLookups(Protocol):
    """What DANE asks beyond that; the answers are worth something when authenticated only."""

    async def tlsa(self, name: str) -> Answer[TlsaRecord]:
        """TLSA records of `_port._tcp.host`, in the order of the answer. Raises DnsFailed."""

    async def is_alias_secure(self, name: str) -> bool:
        """Is there an alias at this very name, for which DNSSEC vouches? Raises DnsFailed."""

    async def is_dnssec_seen(self) -> bool:
        """Does the resolver pass on what DNSSEC says? Asked of a name that is known to be signed.

        Raises DnsFailed.
        """
