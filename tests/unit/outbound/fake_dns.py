"""DNS as a test writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from relevo.dns import Answer, DnsFailed, MailExchange, Outcome, TlsaRecord


@dataclass
class FakeDns:
    """Records by type and name; a name in `broken` cannot be looked up, one in `missing` is none.

    `is_secure`: answers are authenticated.
    """

    records: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    is_secure: bool = False
    is_dnssec: bool = True
    asked: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    def _answer(self, kind: str, name: str) -> Answer[Any]:
        self.asked.append(f"{kind} {name}")
        if name in self.broken:
            raise DnsFailed(f"{kind} of {name}", "no server")
        if name in self.missing:
            return Answer(Outcome.NO_SUCH_NAME, (), 300, self.is_secure)
        found = self.records.get((kind, name), ())
        outcome = Outcome.FOUND if found else Outcome.NO_RECORDS
        return Answer(outcome, found, 300, self.is_secure)

    async def txt(self, name: str) -> Answer[bytes]:
        return self._answer("txt", name)

    async def a(self, name: str) -> Answer[IPv4Address]:
        return self._answer("a", name)

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        return self._answer("aaaa", name)

    async def mx(self, name: str) -> Answer[MailExchange]:
        return self._answer("mx", name)

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        return self._answer("ptr", str(address))

    async def tlsa(self, name: str) -> Answer[TlsaRecord]:
        return self._answer("tlsa", name)

    async def is_alias_secure(self, name: str) -> bool:
        return self._answer("cname", name).outcome is Outcome.FOUND

    async def is_dnssec_seen(self) -> bool:
        return self.is_dnssec
