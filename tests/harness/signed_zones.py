"""A zone signed for a test, and a real validating resolver (unbound) in front of NSD.

Tests that use it are marked `needs_debian("nsd", "unbound")`. The resolver trusts the key of the
signed zone, asks NSD for all zones of the test, and nobody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.RRSIG import RRSIG

from harness.debian import program
from harness.dns_zones import DnsServer, answers, start_dns, zone_text
from harness.mail_sink import free_port
from harness.processes import Reaper
from harness.waiting import wait_for

DAY = timedelta(days=1)


def start_signed_dns(
    reaper: Reaper,
    folder: Path,
    signed: Mapping[str, Sequence[str]],
    unsigned: Mapping[str, Sequence[str]],
    *,
    bogus: Collection[str] = (),
) -> DnsServer:
    """A validating resolver for these zones; names in `bogus` have signatures that are wrong."""
    keys: list[str] = []
    zones: dict[str, Sequence[str]] = dict(unsigned)
    for zone, records in signed.items():
        zones[zone] = _sign(zone, records, bogus, keys)
    authority = start_dns(reaper, folder, zones)
    place = folder / "unbound"
    place.mkdir()
    port = free_port("127.0.0.1")
    (place / "keys").write_text("\n".join([*keys, ""]))
    (place / "unbound.conf").write_text(_config(place, port, authority.port, list(zones)))
    command = [str(program("unbound")), "-d", "-c", str(place / "unbound.conf")]
    process = reaper.start(command, log=place / "unbound.log")
    wait_for(lambda: not process.is_running() or answers(port), what="an answer of unbound")
    assert process.is_running(), process.output()
    return DnsServer("127.0.0.1", port, process)


def _sign(
    name: str, records: Sequence[str], bogus: Collection[str], keys: list[str]
) -> Sequence[str]:
    """The records with keys and signatures; the key is added to `keys` as a trust anchor."""
    zone = dns.zone.from_text(zone_text(name, records), origin=name, relativize=False)
    private = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(
        private.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257
    )
    now = datetime.now(UTC)
    dns.dnssec.sign_zone(
        zone, keys=[(private, key)], inception=now - DAY, expiration=now + DAY, add_dnskey=True,
        dnskey_ttl=300,
    )  # fmt: skip
    keys.append(f"{name} IN DNSKEY {key.to_text()}")
    lines = []
    apex = dns.name.from_text(name)
    wrong = {dns.name.from_text(each) for each in bogus}
    for owner, ttl, rdata in zone.iterate_rdatas():
        if owner == apex and rdata.rdtype in {dns.rdatatype.SOA, dns.rdatatype.NS}:
            continue  # the harness of NSD writes them
        if owner in wrong and isinstance(rdata, RRSIG):
            rdata = rdata.replace(signature=bytes(len(rdata.signature)))  # noqa: PLW2901
        kind = dns.rdatatype.to_text(rdata.rdtype)
        lines.append(f"{owner} {ttl} IN {kind} {rdata.to_text()}")
    return lines


def _config(place: Path, port: int, authority: int, zones: Sequence[str]) -> str:
    lines = [
        "server:",
        "  interface: 127.0.0.1",
        f"  port: {port}",
        "  num-threads: 1",
        "  do-daemonize: no",
        '  username: ""',
        '  chroot: ""',
        f'  directory: "{place}"',
        f'  pidfile: "{place}/pid"',
        "  use-syslog: no",
        "  do-not-query-localhost: no",
        "  access-control: 127.0.0.0/8 allow",
        f'  trust-anchor-file: "{place}/keys"',
        *(f'  local-zone: "{zone}" nodefault' for zone in zones),
        "remote-control:",
        "  control-enable: no",
    ]
    for zone in zones:
        lines += ["stub-zone:", f'  name: "{zone}"', f"  stub-addr: 127.0.0.1@{authority}"]
    return "\n".join([*lines, ""])
