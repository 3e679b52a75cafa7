"""Look-ups that remember what was asked of DNS and what it said, for people."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from relevo.dns import Answer, DnsFailed, MailExchange, Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from ipaddress import IPv4Address, IPv6Address
    from typing import Any

    from relevo.dns import DnsLookups

MAX_SHOWN = 300  # characters of an answer

_R = TypeVar("_R", bytes, str, MailExchange, "IPv4Address", "IPv6Address")


@dataclass(frozen=True, slots=True)
class Question:
    """One look-up; `seconds` is the time it took, cached answers are quick."""

    name: str
    answer: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.name} → {self.answer}  ({self.seconds * 1000:.1f} ms)"


class RecordedLookups:
    """DnsLookups through others."""

    def __init__(self, lookups: DnsLookups) -> None:
        self._lookups = lookups
        self.questions: list[Question] = []

    @property
    def once(self) -> list[Question]:
        """Each question as it was first answered."""
        first: dict[str, Question] = {}
        for question in self.questions:
            first.setdefault(question.name, question)
        return list(first.values())

    async def txt(self, name: str) -> Answer[bytes]:
        return await self._asked(f"{name} TXT", self._lookups.txt(name))

    async def a(self, name: str) -> Answer[IPv4Address]:
        return await self._asked(f"{name} A", self._lookups.a(name))

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        return await self._asked(f"{name} AAAA", self._lookups.aaaa(name))

    async def mx(self, name: str) -> Answer[MailExchange]:
        return await self._asked(f"{name} MX", self._lookups.mx(name))

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        return await self._asked(f"{address} PTR", self._lookups.ptr(address))

    async def _asked(self, question: str, answering: Coroutine[Any, Any, Answer[_R]]) -> Answer[_R]:
        begun = time.monotonic()
        said = "no answer in time"
        try:
            answer = await answering
            said = _said(answer)
        except DnsFailed as error:
            said = f"failed: {error.detail}"
            raise
        finally:
            took = time.monotonic() - begun
            self.questions.append(Question(printable(question), printable(said), took))
        return answer


def _said(answer: Answer[_R]) -> str:
    match answer.outcome:
        case Outcome.NO_SUCH_NAME:
            return "no such name"
        case Outcome.NO_RECORDS:
            return "no such records"
    return ", ".join(_shown(record) for record in answer.records)


def _shown(record: bytes | str | MailExchange | IPv4Address | IPv6Address) -> str:
    if isinstance(record, bytes):
        return f'"{record.decode("utf-8", "replace")}"'
    if isinstance(record, MailExchange):
        return f"{record.preference} {record.host}"
    return str(record)


def printable(text: str, most: int = MAX_SHOWN) -> str:
    """On one line, and not too long."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:most])
    return shown + ("..." if len(text) > most else "")
