"""A tree of zones below a root of the test, signed by ldns, served by NSD behind unbound.

unbound resolves and validates nothing, so what is found out about signatures is ours. Tests that
use it are marked `needs_debian("nsd", "unbound", "ldnsutils")`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.debian import program
from harness.dns_zones import DnsServer, answers, start_dns, zone_text
from harness.mail_sink import free_port
from harness.processes import Reaper
from harness.waiting import wait_for

SIGN_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A zone of the tree. `bogus`: names whose signatures are wrong."""

    records: Sequence[str] = ()
    is_signed: bool = True
    nsec3_rounds: int | None = None  # None: NSEC
    is_opt_out: bool = False
    is_expired: bool = False
    has_wrong_ds: bool = False
    algorithm: str = "ECDSAP256SHA256"
    bogus: Collection[str] = ()


def start_tree(
    reaper: Reaper, folder: Path, zones: Mapping[str, Zone]
) -> tuple[DnsServer, list[str]]:
    """The resolver, and the root's DS record as a trust anchor. Names of zones end with a dot."""
    place = folder / "zones"
    place.mkdir()
    served: dict[str, Sequence[str]] = {}
    delegations: dict[str, list[str]] = {}
    for name in sorted(zones, key=lambda name: (name.count("."), len(name)), reverse=True):
        zone = zones[name]
        records = [*zone.records, *delegations.get(name, [])]
        ds: list[str] = []
        if zone.is_signed:
            records, ds = _signed(place, name, zone, records)
        served[name] = records
        if name == ".":
            break
        above = max((other for other in zones if _is_below(name, other)), key=len)
        cut = [f"{name} NS ns.nsd.invalid.", *ds]
        delegations.setdefault(above, []).extend(cut)
    authority = start_dns(reaper, folder, served)
    return _start_unbound(reaper, folder, authority.port, list(zones)), ds


def _is_below(name: str, other: str) -> bool:
    return name != other and (other == "." or name.endswith(f".{other}"))


def _signed(
    place: Path, name: str, zone: Zone, records: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The records with signatures, and the DS records for the zone above."""
    keygen, signer = program("ldns-keygen"), program("ldns-signzone")
    key = _run(place, keygen, "-r", "/dev/urandom", "-a", zone.algorithm, "-k", name).strip()
    source = place / f"{key}.zone"
    source.write_text(zone_text(name, records))
    options = ["-o", name]
    if zone.nsec3_rounds is not None:
        options += ["-n", "-t", str(zone.nsec3_rounds), "-s", "abcd"]
        options += ["-p"] if zone.is_opt_out else []
    if zone.is_expired:
        options += ["-i", "20200101000000", "-e", "20200201000000"]
    _run(place, signer, *options, source.name, key)
    lines = []
    for line in (place / f"{source.name}.signed").read_text().splitlines():
        fields = line.split("\t")
        if len(fields) < 5 or (fields[0] == name and fields[3] in {"SOA", "NS"}):
            continue  # those two the harness of NSD writes
        if fields[0] in zone.bogus and fields[3] == "RRSIG":
            head, _, signature = line.rpartition(" ")
            line = f"{head} {signature[8:16]}{signature[8:]}"  # noqa: PLW2901
        lines.append(line)
    ds = (place / f"{key}.ds").read_text().strip()
    return lines, [ds[:-8] + "00000000" if zone.has_wrong_ds else ds]


def _run(place: Path, *command: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=place, capture_output=True, text=True,
        timeout=SIGN_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _start_unbound(reaper: Reaper, folder: Path, authority: int, zones: list[str]) -> DnsServer:
    place = folder / "unbound"
    place.mkdir()
    port = free_port("127.0.0.1")
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
        '  module-config: "iterator"',
        *(f'  local-zone: "{zone}" nodefault' for zone in zones if zone != "."),
        "remote-control:",
        "  control-enable: no",
    ]
    for zone in zones:
        lines += ["stub-zone:", f'  name: "{zone}"', f"  stub-addr: 127.0.0.1@{authority}"]
    (place / "unbound.conf").write_text("\n".join([*lines, ""]))
    command = [str(program("unbound")), "-d", "-c", str(place / "unbound.conf")]
    process = reaper.start(command, log=place / "unbound.log")
    wait_for(lambda: not process.is_running() or answers(port), what="an answer of unbound")
    assert process.is_running(), process.output()
    return DnsServer("127.0.0.1", port, process)
