"""DNS that knows TXT records only, for tests of signatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from relevo.dns import Answer, DnsFailed, MailExchange, Outcome


@dataclass
class KeyRecords:
    """Look-ups of keys; `unknown` names are those that nobody can say anything of."""

    records: Mapping[str, bytes]
    unknown: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def for_dkimpy(self, name: bytes, timeout: int = 5) -> bytes | None:
        """What dkimpy asks for keys."""
        return self.records.get(name.decode().removesuffix("."))

    async def txt(self, name: str) -> Answer[bytes]:
        self.asked.append(name)
        if name in self.unknown:
            raise DnsFailed(f"TXT of {name}", "the test says so")
        found = self.records.get(name)
        if found is None:
            return Answer(Outcome.NO_SUCH_NAME, (), 60, is_authenticated=False)
        return Answer(Outcome.FOUND, (found,), 60, is_authenticated=False)

    async def a(self, name: str) -> Answer[IPv4Address]:
        raise NotImplementedError

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        raise NotImplementedError

    async def mx(self, name: str) -> Answer[MailExchange]:
        raise NotImplementedError

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        raise NotImplementedError
