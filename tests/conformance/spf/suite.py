"""The openspf.org test suite for RFC 7208: its scenarios as cases, its zones as a resolver.

`rfc7208-tests.yml` is the file as its authors released it (release 2014.04, from the source package
of pyspf); licence and changes stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, TypeVar

import yaml

from relevo.dns import Answer, BadName, DnsFailed, MailExchange, Outcome, ask_name

FILE = Path(__file__).with_name("rfc7208-tests.yml")
MAX_CHAIN = 16
TIMEOUT = "TIMEOUT"
R = TypeVar("R", bytes, str, MailExchange, IPv4Address, IPv6Address)


@dataclass(frozen=True, slots=True)
class Case:
    """One test: any of `results` is right; `explanation` is None where the suite asks for none."""

    name: str
    zones: SuiteZones
    client_ip: str
    reverse_path: str
    hello_name: str
    results: tuple[str, ...]
    explanation: str | None


class SuiteZones:
    """The zone data of a scenario, as look-ups."""

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self._zones = {
            name.lower().removesuffix("."): _records(rows) for name, rows in data.items()
        }

    async def txt(self, name: str) -> Answer[bytes]:
        rows = self._find(name, "TXT")
        return _answer([b"".join(text.encode() for text in _texts(row)) for row in rows])

    async def a(self, name: str) -> Answer[IPv4Address]:
        return _answer([IPv4Address(row) for row in self._find(name, "A")])

    async def aaaa(self, name: str) -> Answer[IPv6Address]:
        return _answer([IPv6Address(row) for row in self._find(name, "AAAA")])

    async def mx(self, name: str) -> Answer[MailExchange]:
        return _answer([MailExchange(*row) for row in self._find(name, "MX")])

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        rows = self._find(address.reverse_pointer, "PTR")
        return _answer([str(row).removesuffix(".") for row in rows])

    def _find(self, text: str, record_type: str) -> list[Any]:
        for _ in range(MAX_CHAIN):
            try:
                rows = self._zones.get(ask_name(text), [])
            except BadName:
                return []
            found = [value for kind, value in rows if kind == record_type]
            alias = [value for kind, value in rows if kind == "CNAME"]
            if not found and (TIMEOUT, None) in rows:
                raise DnsFailed(f"{record_type} of {text}", "the suite says so")
            if found or not alias:
                return found
            text = alias[0]
        raise DnsFailed(f"{record_type} of {text}", "an endless chain of aliases")


def _records(rows: list[Any]) -> list[tuple[str, Any]]:
    """Rows as pairs; SPF rows stand for TXT rows where a name has none of its own."""
    pairs: list[tuple[str, Any]] = []
    for row in rows:
        pairs += [(TIMEOUT, None)] if row == TIMEOUT else list(row.items())
    has_texts = any(kind == "TXT" for kind, _ in pairs)
    own = [pair for pair in pairs if pair[0] != "SPF" and pair != ("TXT", "NONE")]
    return own if has_texts else own + [("TXT", text) for kind, text in pairs if kind == "SPF"]


def _texts(row: str | list[str]) -> list[str]:
    return [row] if isinstance(row, str) else row


def _answer(records: list[R]) -> Answer[R]:
    outcome = Outcome.FOUND if records else Outcome.NO_SUCH_NAME
    return Answer(outcome, tuple(records), 60, is_authenticated=False)


@cache
def cases() -> tuple[Case, ...]:
    """All tests of the suite."""
    return tuple(_read())


def _read() -> Iterator[Case]:
    with FILE.open(encoding="utf-8") as file:
        scenarios = list(yaml.safe_load_all(file))
    for scenario in filter(None, scenarios):
        zones = SuiteZones(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            results = test["result"]
            yield Case(
                name,
                zones,
                str(test["host"]),
                str(test["mailfrom"]),
                str(test["helo"]),
                (results,) if isinstance(results, str) else tuple(results),
                test.get("explanation"),
            )
