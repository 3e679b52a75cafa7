"""Floods of everything: memory stays bounded, the server lives, and a neighbour is answered."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from harness.dialog import ConnectionEnded, Dialog
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer
from hostile.form import FORM, MIB
from hostile.pouring import bounded_memory, pour

pytestmark = pytest.mark.timeout(FORM.timeout_s)

MOST = 64 * MIB
HELLO = b"EHLO flood.test\r\n"
ENVELOPE = HELLO + b"MAIL FROM:<a@r.test>\r\nRCPT TO:<user@d1.test>\r\n"
LINE = b"x" * 900 + b"\r\n"
# name → (what comes first, what follows for ever)
POURED = {
    "octets without a line end": (b"", b"A" * 65536),
    "NUL": (b"", b"\0" * 65536),
    "NUL lines": (HELLO, b"\0\r\n" * 20000),
    "random-looking octets": (b"", bytes(range(256)) * 256),
    "empty lines": (HELLO, b"\r\n" * 30000),
    "NOOP": (HELLO, b"NOOP\r\n" * 10000),
    "RSET": (HELLO, b"RSET\r\n" * 10000),
    "EHLO": (b"", HELLO * 4000),
    "MAIL": (HELLO, b"MAIL FROM:<a@r.test>\r\nRSET\r\n" * 2000),
    "VRFY": (HELLO, b"VRFY user\r\n" * 6000),
    "STARTTLS, then clear text": (HELLO + b"STARTTLS\r\n", b"NOOP\r\n" * 10000),
    "TLS records of nothing": (HELLO + b"STARTTLS\r\n", b"\x16\x03\x01\x40\x00" + b"\0" * 16384),
    "DATA without a line end": (ENVELOPE + b"DATA\r\n", b"y" * 65536),
    "one header field": (ENVELOPE + b"DATA\r\nX: ", b"y" * 65536),
    "header fields": (ENVELOPE + b"DATA\r\n", b"X: y\r\n" * 10000),
    "folded header": (ENVELOPE + b"DATA\r\nX: y\r\n", b" y\r\n" * 20000),
    "dots": (ENVELOPE + b"DATA\r\n", b"..\r\n" * 20000),
    "BDAT of one octet": (ENVELOPE, b"BDAT 1\r\nx" * 8000),
    "BDAT of nothing": (ENVELOPE, b"BDAT 0\r\n" * 8000),
    "a chunk that is never full": (ENVELOPE + b"BDAT 999999999999 LAST\r\n", LINE * 70),
    "chunks after a refused one": (HELLO, b"BDAT 8000\r\n" + b"z" * 8000),
}


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelevoServer]:
    with reaping(request) as reaper:
        yield RelevoFactory(reaper, tmp_path_factory.mktemp("floods"))(
            settings={"log.level": "warning", "auth.failure_delay": "1ms"}
        )


@pytest.mark.parametrize("name", POURED)
def test_what_is_poured_in_is_bounded(server: RelevoServer, name: str) -> None:
    start, block = POURED[name]
    with bounded_memory(server, MOST), server.dialog() as neighbour:
        neighbour.expect(250, "EHLO neighbour.test")
        # where the server closes at once, the flood is one of connections: enough of them
        poured = pour(server.smtp, block, FORM.flood, start=start, most=200)
        neighbour.expect(250, "NOOP")
    print(f"{poured.sent >> 20} MiB in {poured.connections} connections")
    assert server.process.is_running()
    assert server.status()["workers"][0]["restarts"] == 0


def test_a_pipeline_of_recipients_is_bounded(server: RelevoServer) -> None:
    with bounded_memory(server, MOST), server.dialog() as client:
        client.expect(250, "EHLO flood.test")
        client.expect(250, "MAIL FROM:<a@r.test>")
        with suppress(BrokenPipeError, ConnectionResetError):
            client.send(b"RCPT TO:<user@d1.test>\r\n" * 10_000)
        codes = []
        with suppress(ConnectionEnded):
            codes = [client.reply().code for _ in range(101)]
            client.expect(452, "")
    assert codes.count(250) == 101


def test_a_header_field_of_megabytes_and_very_many_fields_are_refused(
    server: RelevoServer,
) -> None:
    giants = (
        b"X: " + b"y" * FORM.field + b"\r\n",
        b"X: " + b"y" * 900 + b"\r\n" + (b" " + b"y" * 900 + b"\r\n") * (FORM.field // 903),
        b"X: y\r\n" * FORM.fields,
        b"Received: by x; y\r\n" * FORM.fields,
    )
    for head in giants:
        with bounded_memory(server, MOST), server.dialog() as client:
            client.envelope("a@r.test", "user@d1.test")
            reply = client.message(head + b"\r\nbody\r\n")
            assert 550 <= reply.code <= 554, reply
            client.expect(250, "NOOP")


def test_a_flood_of_logins_is_answered_by_a_bounded_number_at_once(server: RelevoServer) -> None:
    codes: list[int] = []
    with bounded_memory(server, MOST):
        for _ in range(FORM.logins // 2):
            with Dialog(server.submission_tls, tls=True) as client, suppress(ConnectionEnded):
                client.expect(250, "EHLO flood.test")
                codes += [client.log_in("user@d1.test", "wrong").code for _ in range(3)]
    assert set(codes) <= {535, 454, 421}
    with Dialog(server.submission_tls, tls=True) as client:
        client.expect(250, "EHLO user.test")
        assert client.log_in("user@d1.test", "secret").code == 235


def test_connections_over_the_limit_of_a_source_are_refused_and_others_are_not(
    server: RelevoServer,
) -> None:
    with ExitStack() as stack, bounded_memory(server, MOST):
        greetings = [
            stack.enter_context(Dialog(server.smtp, source="127.0.0.9")).greeting.code
            for _ in range(520)
        ]
        assert (greetings.count(220), greetings.count(421)) == (500, 20)
        with server.dialog() as client:
            assert client.greeting.code == 220


def test_tls_garbage_and_broken_handshakes_leave_nothing_behind(server: RelevoServer) -> None:
    garbage = (b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, b"GET / HTTP/1.1\r\n\r\n", b"\x80" * 5000)
    with bounded_memory(server, MOST):
        for number in range(200):
            with socket.create_connection(server.submission_tls) as connection:
                with suppress(OSError):
                    connection.sendall(garbage[number % len(garbage)])
                with suppress(OSError, ssl.SSLError):
                    connection.settimeout(5)
                    while connection.recv(65536):
                        pass
    with Dialog(server.submission_tls, tls=True) as client:
        assert client.greeting.code == 220
        assert server.status()["connections"] == 1


def test_early_talkers_lose_nothing_and_gain_nothing(server: RelevoServer) -> None:
    """Who speaks before the greeting is served as a pipelining client is (RFC 5321 §4.3.1)."""
    with socket.create_connection(server.smtp, timeout=10) as connection:
        connection.sendall(b"EHLO early.test\r\nRCPT TO:<user@d1.test>\r\nQUIT\r\n")
        said = b""
        while data := connection.recv(65536):
            said += data
    codes = [line[:3] for line in said.splitlines() if line[3:4] == b" "]
    assert codes == [b"220", b"250", b"503", b"221"]
