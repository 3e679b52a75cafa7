"""A real name server (NSD) on a free loopback port, serving zones that a test writes.

Tests that use it are marked `needs_debian("nsd")`. NSD answers with authority for its zones only,
and refuses every other name; since all test names lie below `test.`, one zone of that name makes
the rest of them NXDOMAIN.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.debian import program
from harness.processes import Process, Reaper
from harness.waiting import wait_for

# the rows of mail that SPF decides about; 127.0.0.1 is where tests send from
SPF_RECORDS = (
    'pass TXT "v=spf1 ip4:127.0.0.1 ip6:::1 -all"',
    'fail TXT "v=spf1 -all"',
    'soft TXT "v=spf1 ~all"',
    "none A 127.0.0.1",
)
NEGATIVE_TTL_S = 60
TRIES = 5


@dataclass(frozen=True, slots=True)
class DnsServer:
    """A running server; `str()` of it is what `dns.servers` takes."""

    host: str
    port: int
    process: Process

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def stop(self) -> None:
        """End it; questions are then refused by the kernel."""
        self.process.stop()


def start_dns(
    reaper: Reaper, folder: Path, zones: Mapping[str, Sequence[str]] | None = None
) -> DnsServer:
    """Start NSD with `zones`: by name, records as lines of a zone file (RFC 1035 §5).

    SOA and NS records are added. Without `zones`, `test.` with SPF_RECORDS. `folder` gets a folder
    `nsd` of its own. Returns when the server answers.
    """
    place = folder / "nsd"
    for _ in range(TRIES):  # another process may take the port in between
        server = _start_once(reaper, place, {"test.": SPF_RECORDS} if zones is None else zones)
        if server.process.is_running():
            return server
    raise AssertionError(f"NSD does not start:\n{server.process.output()}")


def _start_once(reaper: Reaper, place: Path, zones: Mapping[str, Sequence[str]]) -> DnsServer:
    """NSD on some port, when it answers or has ended."""
    port = _free_port()
    process = reaper.start(nsd_command(place, port, zones), log=place / "nsd.log")
    wait_for(lambda: not process.is_running() or answers(port), what="an answer of NSD")
    return DnsServer("127.0.0.1", port, process)


def nsd_command(place: Path, port: int, zones: Mapping[str, Sequence[str]]) -> list[str]:
    """What starts NSD on a loopback port; its files are written to `place`."""
    place.mkdir(exist_ok=True)
    for number, (zone, records) in enumerate(zones.items()):
        (place / f"{number}.zone").write_text(zone_text(zone, records))
    (place / "nsd.conf").write_text(_config(place, port, list(zones)))
    return [str(program("nsd")), "-d", "-c", str(place / "nsd.conf")]


def zone_text(zone: str, records: Sequence[str]) -> str:
    """A zone file with these records."""
    head = [
        f"$ORIGIN {zone}",
        "$TTL 300",
        f"@ SOA ns.nsd.invalid. hostmaster.nsd.invalid. 1 3600 600 86400 {NEGATIVE_TTL_S}",
        "@ NS ns.nsd.invalid.",
    ]
    return "\n".join([*head, *records, ""])


def _config(place: Path, port: int, zones: Sequence[str]) -> str:
    files = ("pidfile", "xfrdfile", "zonelistfile", "cookie-secret-file")
    lines = [
        "server:",
        f"  ip-address: 127.0.0.1@{port}",
        "  server-count: 1",
        '  username: ""',
        '  chroot: ""',
        f'  zonesdir: "{place}"',
        '  database: ""',
        "  hide-version: yes",
        "  rrl-ratelimit: 0",
        *(f'  {name}: "{place / name}"' for name in files),
        "remote-control:",
        "  control-enable: no",
    ]
    for number, zone in enumerate(zones):
        lines += ["zone:", f'  name: "{zone}"', f'  zonefile: "{number}.zone"']
    return "\n".join([*lines, ""])


def _free_port() -> int:
    """A port that is free for UDP and TCP."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return int(tcp.getsockname()[1])


# asks for the SOA record of the root: whatever the answer is, the server lives
_PROBE = bytes.fromhex("a55a 0000 0001 0000 0000 0000 00 0006 0001")


def answers(port: int) -> bool:
    """Does a name server answer there?"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        try:
            probe.connect(("127.0.0.1", port))
            probe.send(_PROBE)
            return probe.recv(512).startswith(_PROBE[:2])
        except OSError:
            return False
