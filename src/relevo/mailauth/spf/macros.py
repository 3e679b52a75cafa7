"""Macro strings of SPF records: parsing and expansion (RFC 7208 §7).

Text comes from the owner of a zone, values from the client. Parsing is linear, and either gives a
MacroString or raises BadMacro; expansion never fails. What an expansion can grow to is bounded by
the length of the text, which callers bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

from relevo.dns.names import MAX_NAME

EXPLANATION_ONLY = frozenset("crt")
_TOKEN = re.compile(
    r"(?P<literal>[\x21-\x24\x26-\x7e]++)"
    r"|%\{(?P<letter>[A-Za-z])(?P<digits>[0-9]*+)(?P<reverse>[rR]?)(?P<delimiters>[-.+,/_=]*+)\}"
    r"|%(?P<special>[%_-])"
    r"|(?P<blanks>\x20++)"
)
_LETTERS = frozenset("slodiphcrtv")
_SPECIAL = {"%": "%", "_": " ", "-": "%20"}
# a label that is not all digits, after a dot, at the end (domain-end of the grammar)
_TOPLABEL_END = re.compile(r"\.(?![0-9]+\.?\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,256}[A-Za-z0-9])?\.?\Z")
_DEFAULT_DELIMITER = "."


class BadMacro(ValueError):
    """Not a macro string; the text says why, in words of ours."""


@dataclass(frozen=True, slots=True)
class Macro:
    """`%{letter…}`: of the value, split at `delimiters`, the last `keep` parts (0: all)."""

    letter: str
    keep: int
    is_reversed: bool
    delimiters: str
    is_escaped: bool


MacroString = tuple[str | Macro, ...]


def parse_macro_string(text: str) -> MacroString:
    """macro-string of the grammar: no blanks, every letter allowed. Raises BadMacro."""
    return _join(_tokens(text, may_have_blanks=False))


def parse_explanation(text: str) -> MacroString:
    """explain-string of the grammar: as a macro-string, with blanks. Raises BadMacro."""
    return _join(_tokens(text, may_have_blanks=True))


def parse_domain_spec(text: str) -> MacroString:
    """domain-spec of the grammar: ends in a macro or a top-level label. Raises BadMacro."""
    tokens = _tokens(text, may_have_blanks=False)
    end = tokens[-1]["literal"] if tokens else text
    if end is not None and not _TOPLABEL_END.search(end):
        raise BadMacro("a target that does not end in a top-level domain")
    macros = _join(tokens)
    if letters(macros) & EXPLANATION_ONLY:
        raise BadMacro("a macro that only explanations may have")
    return macros


def letters(macros: MacroString) -> set[str]:
    """Which values an expansion needs."""
    return {part.letter for part in macros if isinstance(part, Macro)}


def expand(macros: MacroString, values: Mapping[str, str]) -> str:
    """The text with its macros replaced (RFC 7208 §7.3); `values` has what `letters` names."""
    return "".join(
        part if isinstance(part, str) else _expanded(part, values[part.letter]) for part in macros
    )


def expand_domain(macros: MacroString, values: Mapping[str, str]) -> str:
    """An expansion as a name to ask for: without trailing dot, cut from the left to 253 octets."""
    name = expand(macros, values).removesuffix(".")
    if len(name) <= MAX_NAME:
        return name
    return name[-MAX_NAME - 1 :].partition(".")[2]


def dotted_address(ip: IPv4Address | IPv6Address) -> str:
    """The value of `i`: an IPv6 address as its 32 hexadecimal digits, with dots between."""
    if isinstance(ip, IPv4Address):
        return str(ip)
    return ".".join(ip.exploded.replace(":", "").upper())


def _tokens(text: str, *, may_have_blanks: bool) -> list[re.Match[str]]:
    tokens = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or (token["blanks"] and not may_have_blanks):
            raise BadMacro(f"a character out of place, position {position + 1}")
        tokens.append(token)
        position = token.end()
    return tokens


def _join(tokens: list[re.Match[str]]) -> MacroString:
    """Macros and the texts between them."""
    parts: list[str | Macro] = []
    for token in tokens:
        if token["letter"]:
            parts.append(_macro(token))
        else:
            parts.append(token["literal"] or token["blanks"] or _SPECIAL[token["special"]])
    return tuple(parts)


def _macro(token: re.Match[str]) -> Macro:
    letter = token["letter"].lower()
    if letter not in _LETTERS:
        raise BadMacro(f"an unknown macro letter, {letter}")
    digits = token["digits"].lstrip("0")
    if token["digits"] and not digits:
        raise BadMacro("a macro that keeps 0 parts")
    return Macro(
        letter,
        int(digits[:4] or "0"),
        bool(token["reverse"]),
        token["delimiters"] or _DEFAULT_DELIMITER,
        token["letter"].isupper(),
    )


def _expanded(macro: Macro, value: str) -> str:
    parts = re.split(f"[{re.escape(macro.delimiters)}]", value)
    if macro.is_reversed:
        parts.reverse()
    if macro.keep:
        parts = parts[-macro.keep :]
    joined = ".".join(parts)
    return quote(joined, safe="-._~") if macro.is_escaped else joined
