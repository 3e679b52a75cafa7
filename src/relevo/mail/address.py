"""Mail addresses: parsing, normal form, and the forms other places need.

Inside relevo every domain is in one normal form: U-labels, NFC, lower case (RFC 5890). ASCII
(A-labels) is made only for DNS and for peers without SMTPUTF8. A local part of ours is in
PRECIS UsernameCaseMapped (RFC 8265); a foreign one is left as it came.

An address splits at the *last* `@`; a local part that is no dot-string is quoted when written.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import idna
from precis_i18n import get_profile

from relevo.value import dataclass

_DOT_STRING = re.compile(
    r"[^\s()<>\[\]:;@\\,\".\x00-\x1f\x7f]+(?:\.[^\s()<>\[\]:;@\\,\".\x00-\x1f\x7f]+)*"
)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1035 §2.3.1, RFC 1123 §2.1
_ASCII_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_DOMAIN = 253  # octets as A-labels
_QUOTED_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_USERNAME = get_profile("UsernameCaseMapped")


class InvalidAddress(ValueError):
    """Not an address; the text says why. Root of this module's errors."""


class InvalidDomain(InvalidAddress):
    """Not a domain that IDNA can convert, or not hostname syntax."""


class InvalidUser(InvalidAddress):
    """A local part that PRECIS UsernameCaseMapped refuses."""


@lru_cache(maxsize=8192)
def normalize_domain(domain: str) -> str:
    """The one form of a domain inside relevo: U-labels, NFC, lower case.

    Address literals are only lower-cased. Whatever comes out is hostname syntax or an address
    literal, and so without `/`, blanks and controls. Raises InvalidDomain.
    """
    if domain.startswith("["):
        return _checked_literal(domain.lower())
    lowered = domain.lower()
    if lowered.isascii() and "xn--" not in lowered:
        if len(lowered) > _MAX_DOMAIN or not _ASCII_HOST.fullmatch(lowered):
            raise InvalidDomain(f"not a domain name: {domain!r}")
        return lowered
    try:
        decoded = idna.decode(lowered, uts46=True, std3_rules=True)
        ascii_form = idna.encode(decoded, uts46=True)
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidDomain(f"not a domain name: {domain!r} ({error})") from error
    if len(ascii_form) > _MAX_DOMAIN:
        raise InvalidDomain(f"domain name longer than {_MAX_DOMAIN} octets: {domain!r}")
    return unicodedata.normalize("NFC", decoded).lower()


def _checked_literal(literal: str) -> str:
    """`[127.0.0.1]` or `[ipv6:…]` (RFC 5321 §4.1.3); other tags have no meaning to us."""
    inside = literal[1:-1]
    try:
        if not literal.endswith("]") or "%" in inside:
            raise ValueError(literal)
        if inside.startswith("ipv6:"):
            IPv6Address(inside.removeprefix("ipv6:"))
        else:
            IPv4Address(inside)
    except ValueError as error:
        raise InvalidDomain(f"not an address literal: {literal!r}") from error
    return literal


@lru_cache(maxsize=8192)
def domain_to_ascii(domain: str) -> str:
    """A-labels of a normalized domain, for DNS and for peers without SMTPUTF8."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidDomain(f"not a domain name: {domain!r} ({error})") from error


@lru_cache(maxsize=8192)
def normalize_user(user: str) -> str:
    """PRECIS UsernameCaseMapped (RFC 8265 §3.3). Raises InvalidUser."""
    try:
        return str(_USERNAME.enforce(user))
    except UnicodeError as error:
        raise InvalidUser(f"not a user name: {user!r}") from error


@dataclass(frozen=True, slots=True)
class Address:
    """An address; `NULL` is the null reverse-path. `domain` is normalized, or ""."""

    local: str
    domain: str

    @property
    def is_null(self) -> bool:
        return not self.local and not self.domain

    @property
    def is_ascii(self) -> bool:
        return self.local.isascii() and self.domain.isascii()

    def __str__(self) -> str:
        """`local@domain`, the local part quoted where RFC 5321 §4.1.2 demands it; "" for NULL."""
        if self.is_null:
            return ""
        local = self.local
        if not _DOT_STRING.fullmatch(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def plain(self) -> str:
        """`local@domain` without quoting: what chasquid logs and gives to hooks; `<>` for NULL."""
        if self.is_null:
            return "<>"
        return f"{self.local}@{self.domain}" if self.domain else self.local


NULL = Address("", "")


def parse_address(text: str, default_domain: str = "") -> Address:
    """Address of `local@domain` text (no brackets; a quoted local part is unquoted), "" → NULL.

    Domain normalized, local part as it stands. Raises InvalidAddress.
    """
    if not text:
        return NULL
    local, at, domain = text.rpartition("@")
    if not at or _QUOTED_STRING.fullmatch(text):  # an @ within quotes separates nothing
        local, domain = text, default_domain
    if not local:
        raise InvalidAddress(f"no local part: {text!r}")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    return Address(local, normalize_domain(domain) if domain else "")


def normalize_local_address(address: Address) -> Address:
    """The address with its user case-mapped, for domains of ours. Raises InvalidUser."""
    return Address(normalize_user(address.local), address.domain)
