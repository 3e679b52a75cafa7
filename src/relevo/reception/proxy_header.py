"""The header with which a proxy names the client it speaks for: PROXY protocol, versions 1 and 2.

HAProxy's doc/proxy-protocol.txt. The header is the first thing on a connection, in front of a TLS
handshake too. One pure function over the octets received so far: it raises for no input, and what
it says of a whole header does not depend on how the octets were cut into reads.

Refused, because no client is named: `UNKNOWN`, families other than IPv4 and IPv6 over a stream,
and whatever is longer than a sender may make it. Version 2's LOCAL (the proxy speaks for itself,
as in its health checks) keeps the peer of the connection. TLVs are skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

MAX_LINE: Final = 107  # octets of version 1, its line end included
MAX_BINARY: Final = 536  # octets of version 2: one segment of the smallest size, §2.2

_TEXT_START: Final = b"PROXY "
# blanks and line end are read as chasquid reads them: any number of blanks, LF or CRLF
_TEXT: Final = re.compile(
    rb"PROXY +TCP[46] +([0-9A-Fa-f:.]+) +([0-9A-Fa-f:.]+) +([0-9]{1,5}) +([0-9]{1,5}) *\r?\n"
)
_BINARY_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
_BINARY_HEAD: Final = 16  # octets up to the addresses
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_FAMILIES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4, IPv6: octets of an address
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Source:
    """The client that a proxy speaks for. An IPv4 address in IPv6 clothes stands undressed."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A complete header: how many octets it took, and the client; None: the proxy itself."""

    length: int
    source: Source | None


@dataclass(frozen=True, slots=True)
class BadProxyHeader:
    """No header, a broken one, or one that names no client."""

    reason: str


def parse_proxy_header(octets: bytes) -> ProxyHeader | BadProxyHeader | None:
    """The header at the start of what a connection has sent; None: more octets are needed.

    Never None for `MAX_BINARY` octets or more.
    """
    if octets.startswith(_TEXT_START):
        return _parse_text(octets)
    if octets.startswith(_BINARY_START):
        return _parse_binary(octets)
    if _TEXT_START.startswith(octets) or _BINARY_START.startswith(octets):
        return None
    return BadProxyHeader("it does not start with a PROXY header")


def _parse_text(octets: bytes) -> ProxyHeader | BadProxyHeader | None:
    length = octets.find(b"\n", 0, MAX_LINE) + 1
    if not length:
        if len(octets) < MAX_LINE:
            return None
        return BadProxyHeader(f"its PROXY line is longer than {MAX_LINE} octets")
    match = _TEXT.fullmatch(octets, 0, length)
    if match is None:
        return BadProxyHeader("its PROXY line is malformed or names no client")
    source_port, own_port = int(match[3]), int(match[4])
    try:
        source = _plain(ip_address(match[1].decode()))
        ip_address(match[2].decode())
    except ValueError:
        return BadProxyHeader("its PROXY line has a malformed address")
    if max(source_port, own_port) > _MAX_PORT:
        return BadProxyHeader("its PROXY line has a port out of range")
    return ProxyHeader(length, Source(source, source_port))


def _parse_binary(octets: bytes) -> ProxyHeader | BadProxyHeader | None:
    if len(octets) < _BINARY_HEAD:
        return None
    command, family = octets[12], octets[13]
    length = _BINARY_HEAD + int.from_bytes(octets[14:16])
    if command not in (_LOCAL, _PROXY):
        return BadProxyHeader(f"its PROXY header has version and command {command:#04x}")
    if length > MAX_BINARY:
        return BadProxyHeader(f"its PROXY header is longer than {MAX_BINARY} octets")
    size = _FAMILIES.get(family, 0)
    if command == _PROXY and not size:
        return BadProxyHeader(f"its PROXY header has family {family:#04x}, which names no client")
    if command == _PROXY and length < _BINARY_HEAD + 2 * size + 4:
        return BadProxyHeader("its PROXY header is too short for its addresses")
    if len(octets) < length:
        return None
    if command == _LOCAL:
        return ProxyHeader(length, None)
    packed = octets[_BINARY_HEAD : _BINARY_HEAD + size]
    address = IPv4Address(packed) if size == 4 else IPv6Address(packed)
    ports = _BINARY_HEAD + 2 * size
    return ProxyHeader(length, Source(_plain(address), int.from_bytes(octets[ports : ports + 2])))


def _plain(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
