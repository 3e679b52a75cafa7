"""XCLIENT: a proxy that speaks SMTP itself names the client it speaks for.

Postfix's XCLIENT_README. Offered to listed peers alone, whose words replace the address that
limits, SPF and logs use. LOGIN is not taken: who has logged in is decided here, by AUTH.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from relevo.smtp.events import XClient
from relevo.smtp.grammar import SIZE, xtext
from relevo.smtp.replies import Fixed

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTRIBUTES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO")

_UNKNOWN: Final = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
_PROTOCOLS: Final = frozenset({"SMTP", "ESMTP", *_UNKNOWN})
_MAX_PORT: Final = 65535


def parse_xclient(argument: bytes) -> XClient | Fixed:
    """What the client is; NAME, PROTO and HELO are checked and not used, an EHLO follows."""
    attributes = _attributes(argument)
    if attributes is None:
        return Fixed.XCLIENT_MALFORMED
    address = port = None
    if "ADDR" in attributes:
        address = _address(attributes["ADDR"])
        if address is None:
            return Fixed.XCLIENT_ADDRESS_MALFORMED
    if "PORT" in attributes:
        port = _port(attributes["PORT"])
        if port is None:
            return Fixed.XCLIENT_MALFORMED
    if attributes.get("PROTO", "SMTP").upper() not in _PROTOCOLS:
        return Fixed.XCLIENT_MALFORMED
    return XClient(address, port)


def _attributes(argument: bytes) -> Mapping[str, str] | None:
    """By name in capitals; None when malformed, repeated or not offered."""
    found: dict[str, str] = {}
    for word in argument.decode("ascii", errors="replace").split():
        name, equals, value = word.partition("=")
        name = name.upper()
        text = xtext(value)
        if not equals or not text or name not in ATTRIBUTES or name in found:
            return None
        found[name] = text
    return found or None


def _address(text: str) -> str | None:
    """An IPv4 address, or an IPv6 address behind `IPV6:`; one that is not known is not taken."""
    is_v6 = text[:5].upper() == "IPV6:"
    try:
        address = ip_address(text[5:] if is_v6 else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) != is_v6 or "%" in text:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _port(text: str) -> int | None:
    if text.upper() in _UNKNOWN:
        return 0
    if not SIZE.fullmatch(text) or int(text) > _MAX_PORT:
        return None
    return int(text)
