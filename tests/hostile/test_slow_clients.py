"""Slow-loris in every phase of a connection: an octet now and then holds none for long."""

from __future__ import annotations

import base64
import select
import socket
import ssl
import time
from dataclasses import dataclass

import pytest

from harness.certificates import client_context
from harness.config_dir import Setting
from harness.dialog import Dialog
from harness.server import RelevoFactory, RelevoServer
from hostile.form import FORM

DRIP_S = 0.2
BOUND_S = 12.0  # deadlines of 2 s, looked at twice a second, on a busy machine
SETTINGS: dict[str, Setting] = {
    "limits.command_timeout": "2s",
    "limits.busy_command_timeout": "2s",
    "limits.data_timeout": "2s",
    "limits.handshake_timeout": "2s",
}
ENVELOPE = b"EHLO c\r\nMAIL FROM:<a@r.test>\r\nRCPT TO:<user@d1.test>\r\n"


@dataclass
class Slow:
    """A connection, and what it goes on sending, an octet at a time; b"": nothing."""

    phase: str
    socket: socket.socket
    drip: bytes = b""
    sent: int = 0
    said: bytes = b""
    ended: float = 0.0

    def send_some(self) -> None:
        if self.drip and not self.ended:
            at = self.sent % len(self.drip)
            try:
                self.socket.send(self.drip[at : at + 1])
            except OSError:
                return
            self.sent += 1

    def look(self) -> None:
        """Note what came, and the end."""
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        self.said += data
        if not data:
            self.ended = time.monotonic()


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = client_context().wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def after(address: tuple[str, int], octets: bytes, replies: int) -> socket.socket:
    """A connection that has sent `octets` and got so many replies to them, pipelined or not."""
    client = Dialog(address)
    client.send(octets)
    for _ in range(replies):
        client.reply()
    return client.socket


def inside_tls(server: RelevoServer, octets: bytes, replies: int) -> socket.socket:
    client = Dialog(server.submission_tls, tls=True)
    if octets:
        client.send(octets)
    for _ in range(replies):
        client.reply()
    return client.socket


def attacks(server: RelevoServer) -> list[Slow]:
    smtp, tls = server.smtp, server.submission_tls
    hello = client_hello()
    starttls = b"EHLO c\r\nSTARTTLS\r\n"
    user = base64.b64encode(b"user@d1.test")
    found = [
        Slow("silent from the start", after(smtp, b"", 0)),
        Slow("a command that never ends", after(smtp, b"", 0), b"EHLO "),
        Slow("silent TLS handshake", socket.create_connection(tls)),
        Slow("TLS handshake by octets", socket.create_connection(tls), hello),
        Slow("silent after STARTTLS", after(smtp, starttls, 2)),
        Slow("STARTTLS by octets", after(smtp, starttls, 2), hello),
        Slow("silent after EHLO", after(smtp, b"EHLO c\r\n", 1)),
        Slow("MAIL by octets", after(smtp, b"EHLO c\r\n", 1), b"MAIL FROM:<a@r.test> "),
        Slow("RCPT by octets", after(smtp, b"EHLO c\r\nMAIL FROM:<>\r\n", 2), b"RCPT TO:<x"),
        Slow("silent in DATA", after(smtp, ENVELOPE + b"DATA\r\n", 4)),
        Slow("silent in a line of DATA", after(smtp, ENVELOPE + b"DATA\r\nA: b\r\n\r\nx", 4)),
        Slow("silent at the end of DATA", after(smtp, ENVELOPE + b"DATA\r\nA: b\r\n\r\nx\r\n.", 4)),
        Slow("silent in a chunk", after(smtp, ENVELOPE + b"BDAT 1000 LAST\r\nA: b\r\n", 3)),
        Slow("silent between chunks", after(smtp, ENVELOPE + b"BDAT 6\r\nA: b\r\n", 4)),
        Slow("silent in TLS", inside_tls(server, b"", 0)),
        Slow("AUTH without a response", inside_tls(server, b"EHLO c\r\nAUTH LOGIN\r\n", 2)),
        Slow("half an AUTH", inside_tls(server, b"EHLO c\r\nAUTH LOGIN\r\n%s\r\n" % user, 3), b"A"),
    ]
    for slow in found:
        slow.socket.setblocking(False)
    return found


def run(slow: list[Slow], seconds: float) -> None:
    """Until all are ended, or the time is over."""
    deadline = time.monotonic() + seconds
    try:
        _run(slow, deadline)
    finally:
        for each in slow:
            each.socket.close()


def _run(slow: list[Slow], deadline: float) -> None:
    while time.monotonic() < deadline and not all(each.ended for each in slow):
        for each in slow:
            each.send_some()
        select.select([each.socket for each in slow if not each.ended], [], [], DRIP_S)
        for each in slow:
            if not each.ended:
                each.look()
        time.sleep(DRIP_S / 4)


def test_every_phase_has_a_deadline(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=SETTINGS)
    slow = attacks(server)
    run(slow, BOUND_S)
    assert [each.phase for each in slow if not each.ended] == []
    in_clear = [each for each in slow if not isinstance(each.socket, ssl.SSLSocket)]
    told = [each for each in in_clear if "TLS" not in each.phase]
    assert [each.phase for each in told if b"421 4.4.2 " not in each.said] == []
    assert server.status()["connections"] == 0
    with server.dialog() as client:
        assert client.greeting.code == 220


def test_the_header_of_a_proxy_has_a_deadline(start_relevo: RelevoFactory) -> None:
    server = start_relevo(
        settings={**SETTINGS, "listen.haproxy": True, "proxy.trusted": ["127.0.0.1"]}
    )
    starts: list[tuple[str, bytes]] = [
        ("no header", b""),
        ("PROXY by octets", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2"),
        ("half a binary header", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00"),
    ]
    slow = [Slow(name, socket.create_connection(server.smtp), drip) for name, drip in starts]
    for each in slow:
        each.socket.setblocking(False)
    run(slow, BOUND_S)
    assert [each.phase for each in slow if not each.ended] == []


def test_a_client_that_reads_no_answer_is_not_served_for_ever(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=SETTINGS)
    sent, deadline = 0, time.monotonic() + 40
    with socket.create_connection(server.smtp, timeout=0.5) as connection:
        while True:
            assert time.monotonic() < deadline, "the connection still stands"
            try:
                sent += connection.send(b"HELP\r\n" * 1000)
            except TimeoutError:
                continue
            except OSError:
                break
    assert sent < 8 * 1024 * 1024


def trickle(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    client = after(server.smtp, ENVELOPE + b"DATA\r\n", 4)
    client.setblocking(False)
    slow = Slow("DATA by octets", client, b"x" * 60 + b"\r\n")
    run([slow], 660)
    assert slow.ended
    assert b"421 4.4.2 " in slow.said


if FORM.has_slow_message:  # ten minutes

    @pytest.mark.timeout(900)
    def test_a_message_that_trickles_in_is_cut_off(start_relevo: RelevoFactory) -> None:
        trickle(start_relevo)
