"""SPF records: which TXT record is one, and its grammar (RFC 7208 §3, §4.5, §4.6, §12).

A record is read whole before any of it is evaluated: an error anywhere in it is found (§4.6).
Whatever the octets are, the functions return or raise BadRecord, in time linear in their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from relevo.mailauth.spf.macros import (
    BadMacro,
    MacroString,
    parse_domain_spec,
    parse_macro_string,
)
from relevo.mailauth.spf.result import SpfOutcome

MAX_RECORD = 16 * 1024
"""Octets of the longest record that is read. RFC 7208 §3.4 wants them below 512."""

_CACHED_RECORD = 1024
_VERSION = b"v=spf1"
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*+)=(.*)", re.DOTALL)
_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*+)(|[:/].*)", re.DOTALL)
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}")
_DUAL_PREFIX = re.compile(r"(?:/(0|[1-9][0-9]{0,2}))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_OUTCOMES = {
    "": SpfOutcome.PASS,
    "+": SpfOutcome.PASS,
    "-": SpfOutcome.FAIL,
    "?": SpfOutcome.NEUTRAL,
    "~": SpfOutcome.SOFTFAIL,
}


class BadRecord(ValueError):
    """Not a valid record: permerror. The text is printable ASCII and short."""


@dataclass(frozen=True, slots=True)
class All:
    """Matches always (§5.1)."""


@dataclass(frozen=True, slots=True)
class Include:
    """Matches when the other domain's record passes (§5.2)."""

    target: MacroString


@dataclass(frozen=True, slots=True)
class A:
    """Matches an address of the target, the domain itself when None (§5.3)."""

    target: MacroString | None
    prefix4: int
    prefix6: int


@dataclass(frozen=True, slots=True)
class Mx:
    """Matches an address of a mail exchange of the target (§5.4)."""

    target: MacroString | None
    prefix4: int
    prefix6: int


@dataclass(frozen=True, slots=True)
class Ptr:
    """Matches when a verified name of the client is the target or below it (§5.5)."""

    target: MacroString | None


@dataclass(frozen=True, slots=True)
class Ip:
    """Matches the addresses of a network (§5.6)."""

    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Exists:
    """Matches when the target has any IPv4 address (§5.7)."""

    target: MacroString


Mechanism = All | Include | A | Mx | Ptr | Ip | Exists


@dataclass(frozen=True, slots=True)
class Directive:
    """A mechanism and what its match means; `text` is how the record has it."""

    outcome: SpfOutcome
    mechanism: Mechanism
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Record:
    """A valid record."""

    directives: tuple[Directive, ...]
    redirect: MacroString | None
    explanation: MacroString | None


def select_record(texts: Iterable[bytes]) -> bytes | None:
    """The one that is an SPF record (§4.5); None: there is none. Raises BadRecord for several."""
    records = [text for text in texts if text[:6].lower() == _VERSION and text[6:7] in b" "]
    if len(records) > 1:
        raise BadRecord(f"{len(records)} SPF records where one is allowed")
    return records[0] if records else None


def parse_record(octets: bytes) -> Record:
    """The record of a text that `select_record` chose. Raises BadRecord."""
    if len(octets) > MAX_RECORD:
        raise BadRecord(f"a record of {len(octets)} octets")
    # long records are rare, and would make the cache's size that of their owners' choice
    return _parse_cached(octets) if len(octets) <= _CACHED_RECORD else _parse(octets)


def _parse(octets: bytes) -> Record:
    if not octets.isascii():
        raise BadRecord("a record that is not ASCII")
    directives: list[Directive] = []
    known: dict[str, MacroString] = {}
    for term in octets.decode("ascii")[len(_VERSION) :].split(" "):
        if not term:
            continue
        try:
            if modifier := _MODIFIER.fullmatch(term):
                _read_modifier(modifier[1].lower(), modifier[2], known)
            else:
                directives.append(_directive(term))
        except BadMacro as error:
            raise BadRecord(f"{error} in {_shown(term)}") from error
    return Record(tuple(directives), known.get("redirect"), known.get("exp"))


_parse_cached = lru_cache(maxsize=1024)(_parse)


def _read_modifier(name: str, value: str, known: dict[str, MacroString]) -> None:
    if name not in {"redirect", "exp"}:
        parse_macro_string(value)  # other modifiers mean nothing, but must be well-formed (§6)
        return
    if name in known:
        raise BadRecord(f"{name}= stands twice")
    known[name] = parse_domain_spec(value)


def _directive(term: str) -> Directive:
    parts = _DIRECTIVE.fullmatch(term)
    if parts is None:
        raise BadRecord(f"{_shown(term)} is neither mechanism nor modifier")
    mechanism = _mechanism(parts[2].lower(), parts[3])
    if mechanism is None:
        raise BadRecord(f"{_shown(term)} is no valid mechanism")
    return Directive(_OUTCOMES[parts[1]], mechanism, term)


def _mechanism(name: str, rest: str) -> Mechanism | None:
    """The mechanism; None when it is unknown or what follows its name is not what it takes."""
    match name:
        case "all":
            return None if rest else All()
        case "include" | "exists":
            target = _target(rest)
            if target is None:
                return None
            return Include(target) if name == "include" else Exists(target)
        case "a" | "mx":
            return _addresses(A if name == "a" else Mx, rest)
        case "ptr":
            target = _target(rest)
            return None if rest and target is None else Ptr(target)
        case "ip4":
            return _network(rest, 32)
        case "ip6":
            return _network(rest, 128)
    return None


def _target(rest: str) -> MacroString | None:
    return parse_domain_spec(rest[1:]) if rest.startswith(":") else None


def _addresses(kind: type[A | Mx], rest: str) -> A | Mx | None:
    """What `a` and `mx` take: [":" domain-spec] ["/" prefix] ["//" prefix]."""
    prefixes = _DUAL_PREFIX.search(rest)
    assert prefixes is not None  # it matches the empty end
    before = rest[: prefixes.start()]
    prefix4, prefix6 = int(prefixes[1] or 32), int(prefixes[2] or 128)
    target = _target(before)
    if prefix4 > 32 or prefix6 > 128 or (before and target is None):
        return None
    return kind(target, prefix4, prefix6)


def _network(rest: str, bits: int) -> Ip | None:
    address, slash, prefix = rest[1:].partition("/")
    if not rest.startswith(":") or "%" in address or (slash and not _PREFIX.fullmatch(prefix)):
        return None
    length = int(prefix) if slash else bits
    if length > bits:
        return None
    try:
        if bits == 32:
            return Ip(IPv4Network((IPv4Address(address), length), strict=False))
        return Ip(IPv6Network((IPv6Address(address), length), strict=False))
    except ValueError:
        return None


def _shown(term: str) -> str:
    """A term for a reason: printable and short."""
    text = "".join(c if c.isprintable() else "?" for c in term[:60])
    return f"'{text}'" + ("..." if len(term) > 60 else "")
