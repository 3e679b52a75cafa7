"""Keys from which a chain of trust begins: the root's, or those of a file.

A file has DS or DNSKEY records as zone files have them, one a line, as unbound's and BIND's tools
write them. A key counts by its SHA-256 digest, so both become DS records here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

MAX_FILE = 1024 * 1024
ROOT = (  # https://data.iana.org/root-anchors/: KSK-2017 and KSK-2024
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
)
_RECORD = re.compile(r"(\S+)\s+(?:\d+\s+)?(?:IN\s+)?(DS|DNSKEY)\s+(.+)", re.IGNORECASE)


class BadAnchor(ValueError):
    """Not a trust anchor; the text says where and why."""


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """DS records by zone."""

    zones: dict[dns.name.Name, tuple[DS, ...]]

    def above(self, name: dns.name.Name) -> dns.name.Name | None:
        """The zone with an anchor that is nearest to a name; None: there is none above it."""
        found = [zone for zone in self.zones if name.is_subdomain(zone)]
        return max(found, key=len, default=None)


def read_anchors(path: str) -> TrustAnchors:
    """Of a file, or, without one, the root's. Raises BadAnchor, OSError."""
    if not path:
        return parse_anchors(ROOT, "the root's anchors")
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        return parse_anchors(file.read(MAX_FILE).splitlines(), path)


def parse_anchors(lines: Iterable[str], where: str) -> TrustAnchors:
    """`where` is for the texts of problems. Raises BadAnchor."""
    zones: dict[dns.name.Name, list[DS]] = {}
    for number, line in enumerate(lines, start=1):
        record = line.partition(";")[0].strip()
        if not record:
            continue
        match = _RECORD.fullmatch(record)
        if match is None:
            raise BadAnchor(f"{where}:{number}: write `zone. IN DS …` or `zone. IN DNSKEY …`")
        try:
            zone = dns.name.from_text(match[1])
            rdata = dns.rdata.from_text(dns.rdataclass.IN, match[2].upper(), match[3])
            if isinstance(rdata, DNSKEY):
                rdata = dns.dnssec.make_ds(zone, rdata, "SHA256")
        except (dns.exception.DNSException, ValueError) as error:
            raise BadAnchor(f"{where}:{number}: {error}") from error
        assert isinstance(rdata, DS)
        zones.setdefault(zone, []).append(rdata)
    if not zones:
        raise BadAnchor(f"{where}: there is no DS or DNSKEY record")
    return TrustAnchors({zone: tuple(found) for zone, found in zones.items()})
