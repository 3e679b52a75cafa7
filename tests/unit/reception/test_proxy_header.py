"""The header of the PROXY protocol: what is taken, what is refused, and where it ends."""

from __future__ import annotations

import ipaddress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.reception.proxy_header import (
    MAX_BINARY,
    MAX_LINE,
    BadProxyHeader,
    ProxyHeader,
    Source,
    parse_proxy_header,
)

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
V4: Final = bytes([1, 2, 3, 4, 10, 0, 0, 1])
V6: Final = ipaddress.IPv6Address("2001:db8::7").packed + ipaddress.IPv6Address("::1").packed
MAPPED: Final = ipaddress.IPv6Address("::ffff:1.2.3.4").packed * 2
PORTS: Final = (1111).to_bytes(2) + (25).to_bytes(2)
TLV: Final = b"\x20\x00\x05\x01\0\0\0\0"


def binary(content: bytes, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(content).to_bytes(2) + content


WHOLE = {
    "TCP4": (b"PROXY TCP4 1.2.3.4 10.0.0.1 1111 25\r\n", Source("1.2.3.4", 1111)),
    "TCP6": (b"PROXY TCP6 2001:DB8::7 ::1 1111 25\r\n", Source("2001:db8::7", 1111)),
    "IPv4 in IPv6": (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 25\r\n", Source("1.2.3.4", 1)),
    "LF alone": (b"PROXY TCP4 1.2.3.4 10.0.0.1 1111 25\n", Source("1.2.3.4", 1111)),
    "many blanks": (b"PROXY  TCP4  1.2.3.4 10.0.0.1   0 65535 \r\n", Source("1.2.3.4", 0)),
    "longest": (
        b"PROXY TCP6 2001:db8::7 ::1 1111 25".ljust(MAX_LINE - 2) + b"\r\n",
        Source("2001:db8::7", 1111),
    ),
    "v2 IPv4": (binary(V4 + PORTS), Source("1.2.3.4", 1111)),
    "v2 IPv6": (binary(V6 + PORTS, family=0x21), Source("2001:db8::7", 1111)),
    "v2 IPv4 in IPv6": (binary(MAPPED + PORTS, family=0x21), Source("1.2.3.4", 1111)),
    "v2 with TLVs": (binary(V4 + PORTS + TLV), Source("1.2.3.4", 1111)),
    "v2 longest": (binary((V4 + PORTS).ljust(MAX_BINARY - 16)), Source("1.2.3.4", 1111)),
    "v2 LOCAL": (binary(b"", command=0x20, family=0), None),
    "v2 LOCAL with addresses": (binary(V4 + PORTS, command=0x20), None),
}

BAD = {
    "no header": b"EHLO client.test\r\n",
    "TLS first": b"\x16\x03\x01\x02\x00\x01",
    "unknown": b"PROXY UNKNOWN\r\n",
    "unknown with addresses": b"PROXY UNKNOWN 1.2.3.4 10.0.0.1 1111 25\r\n",
    "five fields": b"PROXY TCP4 1.2.3.4 10.0.0.1 1111\r\n",
    "seven fields": b"PROXY TCP4 1.2.3.4 10.0.0.1 1111 25 x\r\n",
    "empty line": b"PROXY \r\n",
    "bad source": b"PROXY TCP4 1.2.3.256 10.0.0.1 1111 25\r\n",
    "bad destination": b"PROXY TCP4 1.2.3.4 10.0.0 1111 25\r\n",
    "zone": b"PROXY TCP6 fe80::1%eth0 ::1 1111 25\r\n",
    "source port": b"PROXY TCP4 1.2.3.4 10.0.0.1 70000 25\r\n",
    "destination port": b"PROXY TCP4 1.2.3.4 10.0.0.1 1111 70000\r\n",
    "negative port": b"PROXY TCP4 1.2.3.4 10.0.0.1 -1 25\r\n",
    "CR inside": b"PROXY TCP4 1.2.3.4\r10.0.0.1 1111 25\r\n",
    "UDP": b"PROXY UDP4 1.2.3.4 10.0.0.1 1111 25\r\n",
    "too long": b"PROXY TCP4 1.2.3.4 10.0.0.1 1111 25".ljust(MAX_LINE - 1) + b"\r\n",
    "endless": b"PROXY " + b"x" * MAX_LINE,
    "v2 UNSPEC": binary(b"", family=0x00),
    "v2 UDP": binary(V4 + PORTS, family=0x12),
    "v2 unix": binary(bytes(216), family=0x31),
    "v2 version 1": binary(V4 + PORTS, command=0x11),
    "v2 command 2": binary(V4 + PORTS, command=0x22),
    "v2 too short": binary(V4 + PORTS[:3]),
    "v2 too long": binary((V4 + PORTS).ljust(MAX_BINARY - 15)),
}


@pytest.mark.parametrize(("octets", "source"), WHOLE.values(), ids=WHOLE)
def test_a_whole_header_names_its_client(octets: bytes, source: Source | None) -> None:
    assert parse_proxy_header(octets) == ProxyHeader(len(octets), source)
    assert parse_proxy_header(octets + b"EHLO x\r\n") == ProxyHeader(len(octets), source)


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_what_names_no_client_is_refused(octets: bytes) -> None:
    assert isinstance(parse_proxy_header(octets), BadProxyHeader)


def first_verdict(octets: bytes, cuts: list[int]) -> ProxyHeader | BadProxyHeader | None:
    """What a reader that is given the octets piece by piece says first."""
    for cut in [*sorted(cuts), len(octets)]:
        verdict = parse_proxy_header(octets[:cut])
        if verdict is not None:
            return verdict
    return None


streams = st.one_of(
    st.sampled_from([octets for octets, _ in WHOLE.values()] + list(BAD.values())),
    st.binary(max_size=600).map(lambda tail: SIGNATURE + tail),
    st.binary(max_size=200).map(lambda tail: b"PROXY TCP4 " + tail),
    st.binary(max_size=600),
)


@given(streams, st.lists(st.integers(0, MAX_BINARY), max_size=12))
def test_any_cutting_gives_the_same(octets: bytes, cuts: list[int]) -> None:
    whole = parse_proxy_header(octets)
    pieces = first_verdict(octets, [cut for cut in cuts if cut < len(octets)])
    if isinstance(whole, BadProxyHeader):
        assert isinstance(pieces, BadProxyHeader)  # perhaps noticed earlier, for another reason
    else:
        assert pieces == whole


@given(st.one_of(streams, st.binary(min_size=MAX_BINARY)))
def test_no_octets_are_waited_for_beyond_the_longest_header(octets: bytes) -> None:
    verdict = parse_proxy_header(octets)
    assert verdict is not None or len(octets) < MAX_BINARY
    if isinstance(verdict, ProxyHeader):
        assert 0 < verdict.length <= len(octets)
