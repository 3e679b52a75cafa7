"""Servers that are broken, hostile or ourselves: mail is not lost, and nothing is taken over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.config_dir import Domain, Setting
from harness.dns_zones import start_dns
from harness.mail_sink import free_port
from harness.processes import Reaper
from harness.scripted_smtp import Gone, Line, Scripted, scripted
from harness.server import RelevoFactory, RelevoServer
from harness.users_mail import submit, wait_for_line
from harness.waiting import wait_for

pytestmark = pytest.mark.needs_debian("nsd")

ONE, TWO = "127.0.0.31", "127.0.0.32"
SLOW_S = 4.0
MOST_GROWTH = 48 * 1024 * 1024


def sender(
    reaper: Reaper,
    start_relevo: RelevoFactory,
    folder: Path,
    port: int,
    settings: Mapping[str, Setting] | None = None,
    zone: tuple[str, ...] = (),
) -> RelevoServer:
    """A server that sends to `port`; mail for one.test goes to ONE, if that fails to TWO."""
    lines = ("one MX 10 mx1", "one MX 20 mx2", f"mx1 A {ONE}", f"mx2 A {TWO}", *zone)
    resolver = start_dns(reaper, folder, {"test.": lines})
    return start_relevo(
        settings={
            "dns.servers": [str(resolver)],
            "outbound.port": port,
            "outbound.allow_addresses": ["127.0.0.0/8"],
            "outbound.reuse_idle": "0s",
            "spf.check": False,
            "server.workers": 1,
            **(settings or {}),
        }
    )


@contextmanager
def listening(*servers: Scripted) -> Iterator[None]:
    """All of them."""
    if not servers:
        yield
        return
    with scripted(servers[0]), listening(*servers[1:]):
        yield


def broken_starttls(way: str) -> Scripted:
    def answer(line: Line, command: bytes) -> str | None:
        if command != b"STARTTLS":
            return None
        match way:
            case "refused":
                return "454 4.7.0 no certificate today"
            case "garbage":
                line.say("220 go on")
                line.say(b"\x15\x03\x01\x00\x02\x02\x28\xff\xfe" * 100)
            case "closed":
                line.say("220 go on")
            case "cut":
                pass
        raise Gone

    extensions = ("PIPELINING", "8BITMIME", "STARTTLS")
    return Scripted(ONE, free_port(ONE, TWO), answer, extensions=extensions)


@pytest.mark.parametrize("way", ["refused", "garbage", "closed", "cut"])
def test_broken_starttls_costs_the_protection_and_not_the_mail(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path, way: str
) -> None:
    peer = broken_starttls(way)
    with listening(peer):
        server = sender(reaper, start_relevo, tmp_path, peer.port)
        submit(server, "a@one.test")
        wait_for_line(server, "a@one.test", "sent")
        assert len(peer.messages) == 1
        assert b"STARTTLS" in peer.commands


def test_broken_starttls_where_tls_is_demanded_holds_the_mail(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    peer = broken_starttls("closed")
    with listening(peer):
        settings: dict[str, Setting] = {"outbound_tls.verify": ["only.test"]}
        server = sender(reaper, start_relevo, tmp_path, peer.port, settings, ("only MX 10 mx1",))
        submit(server, "a@only.test")
        wait_for_line(server, "a@only.test", "TLS that must be used", "temporary")
        assert not any(command.startswith(b"MAIL") for command in peer.commands)


def test_a_slow_banner_is_waited_for(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """And holds up nobody else."""

    def answer(line: Line, command: bytes) -> str | None:
        if command == b"GREETING":
            for octet in b"220 slow.test ESMTP":
                line.say(bytes([octet]))
                time.sleep(SLOW_S / 20)
            return ""
        return None

    slow = Scripted(ONE, free_port(ONE, TWO), answer)
    other = Scripted(TWO, slow.port)
    with listening(slow, other):
        zone = ("other MX 10 mx2",)
        server = sender(reaper, start_relevo, tmp_path, slow.port, zone=zone)
        started = time.monotonic()
        submit(server, "a@one.test", "b@other.test")
        wait_for(lambda: other.messages, what="the mail for others")
        assert not slow.messages
        wait_for_line(server, "a@one.test", "sent")
        assert time.monotonic() - started > SLOW_S / 2
        assert len(slow.messages) == 1


ENDLESS = b"250-" + b"x" * 200 + b"\r\n"
MISBEHAVIOUR = {
    "an endless reply to EHLO": (b"EHLO", ENDLESS * 200_000),
    "a line without an end": (b"EHLO", b"250-" + b"y" * 40_000_000),
    "8-bit garbage": (b"EHLO", bytes(range(128, 256)) * 10_000 + b"\r\n"),
    "an endless reply to MAIL": (b"MAIL", ENDLESS * 200_000),
    "garbage to RCPT": (b"RCPT", b"\x00\xff\r\n\xfe" * 1000),
}


def test_replies_that_are_none_cost_neither_mail_nor_memory(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    now = [""]

    def answer(line: Line, command: bytes) -> str | None:
        begin, octets = MISBEHAVIOUR[now[0]]
        if command.startswith(begin):
            line.say(octets)
            raise Gone
        return None

    port = free_port(ONE, TWO)
    bad, good = Scripted(ONE, port, answer), Scripted(TWO, port)
    with listening(bad, good):
        server = sender(reaper, start_relevo, tmp_path, port)
        now[0] = "8-bit garbage"
        submit(server, "warm@one.test")
        before = memory(server)
        for name, (begin, _) in MISBEHAVIOUR.items():
            now[0] = name
            recipient = f"{name.replace(' ', '.')}@one.test"
            submit(server, recipient)
            # after MAIL has begun no other host is asked before the next try
            wait_for_line(server, recipient, "sent" if begin == b"EHLO" else "temporary")
        assert memory(server) - before < MOST_GROWTH


def memory(server: RelevoServer) -> int:
    """Octets that its workers hold."""
    total = 0
    for pid in server.workers():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    return total


def test_a_thousand_exchangers_are_five(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """All of them refuse connections; the answer needs TCP."""
    zone = (
        *(f"many MX 10 h{number}.many" for number in range(1000)),
        *(f"h{number}.many A 127.1.{number // 200}.{number % 200 + 1}" for number in range(1000)),
    )
    server = sender(reaper, start_relevo, tmp_path, free_port(ONE), zone=zone)
    before = memory(server)
    submit(server, "a@many.test")
    wait_for_line(server, "a@many.test", "no connection", "temporary")
    assert memory(server) - before < MOST_GROWTH


# none of these may be reached by what a stranger writes into DNS
INWARD = {
    "loop": "A 127.0.0.1",
    "meta": "A 169.254.169.254",
    "nobody": "A 0.0.0.0",
    "mapped": "AAAA ::ffff:127.0.0.1",
    "nat": "AAAA 64:ff9b::7f00:1",
    "six": "AAAA 2002:7f00:1::",
    "own": "AAAA ::1",
    "unspecified": "AAAA ::",
    "site": "AAAA fec0::1",
    "private": "A 10.0.0.1",
    "carrier": "A 100.64.0.1",
}


def test_dns_leads_nobody_into_this_network(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """Neither by MX, nor by the domain's own address, nor by an address literal."""
    zone = [f"mx.{name} {record}" for name, record in INWARD.items()]
    zone += [f"{name} MX 10 mx.{name}" for name in INWARD]
    zone += [f"plain.{name} {record}" for name, record in INWARD.items()]
    peer = Scripted("127.0.0.1", free_port("127.0.0.1"))
    with listening(peer):
        settings: dict[str, Setting] = {"outbound.allow_addresses": []}
        server = sender(reaper, start_relevo, tmp_path, peer.port, settings, tuple(zone))
        recipients = [
            *(f"a@{name}.test" for name in INWARD),
            *(f"b@plain.{name}.test" for name in INWARD),
            *("c@[127.0.0.1]", "d@[IPv6:::1]", "e@[IPv6:::ffff:127.0.0.1]", "f@[0.0.0.0]"),
        ]
        submit(server, *recipients)
        notices = server.config.mailbox("user@d1.test").wait(len(recipients), timeout_s=60)
        assert all(b"Status: 5.4.4" in notice for notice in notices)
        assert peer.connections == 0


HOSTILE = (
    b"550-5.1.1 no\x1b[31m such\x00 user\r\r\n"
    b"550-5.1.1 \xe2\x80\xa8Status: 2.0.0\x85Action: delivered\x0b\r\n"
    b"550 5.1.1 <a@one.test> sent [injected] " + b"z" * 3000 + b"\r\n"
)


def test_what_a_server_says_is_text_and_nothing_else(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """Control characters and line ends of a reply end neither a line of the log nor a field."""

    def answer(line: Line, command: bytes) -> str | None:
        if command.startswith(b"RCPT"):
            line.say(HOSTILE)
            return "221 late"
        return None

    with listening(peer := Scripted(ONE, free_port(ONE, TWO), answer, extensions=())):
        server = sender(reaper, start_relevo, tmp_path, peer.port)
        submit(server, "a@one.test")
        (notice,) = server.config.mailbox("user@d1.test").wait(1)
    report = notice.partition(b"message/delivery-status")[2]
    fields = [line for line in report.splitlines() if line.startswith((b"Status:", b"Action:"))]
    assert fields == [b"Action: failed", b"Status: 5.1.1"]
    log = server.config.mail_log.read_bytes() + server.log.read_bytes()
    for text in (notice, log):
        assert not any(octet < 0x20 and octet not in b"\t\n\r" for octet in text)
        assert b"\xe2\x80\xa8" not in text
    lines = [line for line in server.mail_log().splitlines() if "injected" in line]
    assert lines
    assert all("550" in line and "no" in line for line in lines), lines


def test_this_server_is_known_by_address_and_port_and_a_neighbour_is_not(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """Two servers on one host exchange mail; one that DNS leads back to itself says so."""
    port = free_port(ONE, TWO)
    neighbour = start_relevo(
        name="neighbour",
        domains={"one.test": Domain({"a": "secret"})},
        settings={"listen.smtp": [f"{ONE}:{port}"], "spf.check": False, "server.workers": 1},
    )
    settings: dict[str, Setting] = {"listen.smtp": [f"{TWO}:{port}"]}
    server = sender(reaper, start_relevo, tmp_path, port, settings, ("us MX 10 mx2",))
    submit(server, "a@one.test", "a@us.test")
    neighbour.config.mailbox("a@one.test").wait(1)
    (notice,) = server.config.mailbox("user@d1.test").wait(1)
    assert b"Status: 5.4.6" in notice


def test_a_loop_between_two_servers_ends_with_one_notice(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """Each forwards to the other; the sender is told once."""
    port = free_port(ONE, TWO)
    settings: dict[str, Setting] = {
        "outbound.port": port,
        "outbound.allow_addresses": ["127.0.0.0/8"],
        "spf.check": False,
        "server.workers": 1,
        "dns.servers": [
            str(
                start_dns(
                    reaper,
                    tmp_path,
                    {"test.": ("d1 MX 1 a", f"a A {ONE}", "d2 MX 1 b", f"b A {TWO}")},
                )
            )
        ],
    }
    first = start_relevo(
        name="first",
        domains={"d1.test": Domain({"user": "secret"}, "ping: pong@d2.test\n")},
        settings={**settings, "listen.smtp": [f"{ONE}:{port}"], "hostname": "a.test"},
    )
    second = start_relevo(
        name="second",
        domains={"d2.test": Domain({}, "pong: ping@d1.test\n")},
        settings={**settings, "listen.smtp": [f"{TWO}:{port}"], "hostname": "b.test"},
    )
    submit(first, "ping@d1.test")
    (notice,) = first.config.mailbox("user@d1.test").wait(1, timeout_s=60)
    assert b"Status: 5.4.6" in notice
    for server in (first, second):
        wait_for(lambda: server.status()["queue"]["messages"] == 0, what="an empty queue")  # noqa: B023
    assert len(first.config.mailbox("user@d1.test").files()) == 1
