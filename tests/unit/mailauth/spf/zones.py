"""A resolver over a table, which counts what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from relevo.dns import Answer, BadName, DnsFailed, MailExchange, Outcome, ask_name

R = TypeVar("R", bytes, str, MailExchange, IPv4Address, IPv6Address)
FAILS = "fails"
HANGS = "hangs"


class Zones:
    """Keys are `TYPE name`; values records as text, FAILS or HANGS."""

    def __init__(self, table: Mapping[str, Sequence[str] | str]) -> None:
        self._table = table
        self.asked: list[str] = []

    async def txt(self, name: str) -> Answer[bytes]:
        return _answer([row.encode("latin-1") for row in await self._find("TXT", name)])

    async def a(self, name: str) -> Answer[IPv4Address]:
        return _answer([IPv4Address(row) for row in await self._find("A", name)])

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        return _answer([IPv6Address(row) for row in await self._find("AAAA", name)])

    async def mx(self, name: str) -> Answer[MailExchange]:
        return _answer([MailExchange(10, row) for row in await self._find("MX", name)])

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        return _answer(list(await self._find("PTR", str(address))))

    async def _find(self, record_type: str, name: str) -> Sequence[str]:
        try:
            key = f"{record_type} {name if record_type == 'PTR' else ask_name(name)}"
        except BadName:
            return ()
        self.asked.append(key)
        rows = self._table.get(key, ())
        if rows == HANGS:
            await asyncio.Event().wait()
        if rows == FAILS:
            raise DnsFailed(key, "192.0.2.53:53: no answer")
        return rows


def _answer(records: list[R]) -> Answer[R]:
    outcome = Outcome.FOUND if records else Outcome.NO_SUCH_NAME
    return Answer(outcome, tuple(records), 60, is_authenticated=False)
