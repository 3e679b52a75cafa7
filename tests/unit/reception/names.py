"""A resolver without a network, whose answers a test can hold back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from relevo.dns import Answer, DnsFailed, MailExchange, Outcome

PASS = "v=spf1 ip4:192.0.2.7 -all"
FAIL = "v=spf1 -all"
NOTHING: Answer[Any] = Answer(Outcome.NO_SUCH_NAME, (), 60, is_authenticated=False)


@dataclass
class Names:
    """DnsLookups over a table of TXT records; every other name is absent."""

    records: dict[str, str] = field(default_factory=dict)
    is_down: bool = False
    gate: asyncio.Event | None = None  # answers come when it is set
    asked: list[str] = field(default_factory=list)

    async def txt(self, name: str) -> Answer[bytes]:
        self.asked.append(name)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise DnsFailed(f"{name} TXT", "no server answers")
        if name not in self.records:
            return NOTHING
        text = self.records[name].encode()
        return Answer(Outcome.FOUND, (text,), 60, is_authenticated=False)

    async def a(self, name: str) -> Answer[IPv4Address]:
        return NOTHING

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        return NOTHING

    async def mx(self, name: str) -> Answer[MailExchange]:
        return NOTHING

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        return NOTHING
