"""Attacks on the framing of SMTP, over real sockets: injection before TLS and smuggled messages."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.dialog import ConnectionEnded, Dialog
from harness.message_ends import CONTENT_NOT_ENDS, FALSE_ENDS
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer

ENVELOPE = (b"EHLO client.test", b"MAIL FROM:<a@r.test>", b"RCPT TO:<user@d1.test>")
SECOND = (
    b"MAIL FROM:<smuggled@r.test>\r\nRCPT TO:<juan@d1.test>\r\n"
    b"DATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
)


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelevoServer]:
    """One server for all: what an attack leaves behind would show in the next."""
    with reaping(request) as reaper:
        yield RelevoFactory(reaper, tmp_path_factory.mktemp("attacks"))()


def delivered(server: RelevoServer, mark: bytes) -> list[Path]:
    """Files below the mail folder that contain `mark`."""
    folder = server.config.path / "mail"
    return [path for path in folder.rglob("*") if path.is_file() and mark in path.read_bytes()]


def settle(server: RelevoServer, mark: str) -> None:
    """Send one honest message and wait for it: what was accepted before it is delivered too."""
    before = len(server.config.mailbox("user@d1.test").files())
    with server.dialog() as client:
        client.envelope("settle@r.test", "user@d1.test")
        assert client.message(f"Subject: {mark}\r\n\r\nx\r\n".encode()).code == 250
    server.config.mailbox("user@d1.test").wait(before + 1)


@pytest.mark.parametrize("cut", [None, 1, 2, 3], ids=lambda cut: f"cut {cut}")
@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_a_false_end_of_data_is_refused_and_nothing_behind_it_runs(
    server: RelevoServer, end: bytes, cut: int | None
) -> None:
    stream = b"Subject: outer-message\r\n\r\nbody" + end + SECOND
    at = len(stream) if cut is None else stream.index(b"body" + end) + 4 + min(cut, len(end) - 1)
    with server.dialog() as client:
        for line in ENVELOPE:
            client.expect(250, line)
        client.expect(354, "DATA")
        client.send(stream[:at])
        with suppress(BrokenPipeError, ConnectionResetError):
            client.send(stream[at:])
        reply = client.reply()
        assert reply.code == 521, reply
        assert client.rest() == b""
    settle(server, "after-a-false-end")
    assert delivered(server, b"outer-message") == []
    assert delivered(server, b"smuggled") == []


@pytest.mark.parametrize("end", CONTENT_NOT_ENDS, ids=repr)
def test_what_only_looks_like_an_end_is_content(server: RelevoServer, end: bytes) -> None:
    mark = f"inner-{CONTENT_NOT_ENDS.index(end)}".encode()
    stream = b"Subject: " + mark + b"\r\n\r\nbody" + end + SECOND
    before = len(server.config.mailbox("user@d1.test").files())
    with server.dialog() as client:
        for line in ENVELOPE:
            client.expect(250, line)
        client.expect(354, "DATA")
        client.send(stream)
        assert client.reply().code == 250
        client.expect(250, "NOOP")  # one reply for all of it: nothing else was run
    server.config.mailbox("user@d1.test").wait(before + 1)
    assert len(delivered(server, mark)) == 1
    assert server.config.mailbox("juan@d1.test").files() == []


@pytest.mark.parametrize("octets", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\nb\r\n", b"\n.\n"], ids=repr)
def test_bdat_takes_no_bare_line_end_either(server: RelevoServer, octets: bytes) -> None:
    chunk = b"Subject: by-bdat\r\n\r\n" + octets
    with server.dialog() as client:
        for line in ENVELOPE:
            client.expect(250, line)
        client.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
        reply = client.reply()
        assert reply.code >= 500, reply
    settle(server, "after-bdat")
    assert delivered(server, b"by-bdat") == []


def test_a_chunk_is_never_read_as_commands(server: RelevoServer) -> None:
    chunk = b"Subject: chunk-of-commands\r\n\r\n.\r\n" + SECOND
    before = len(server.config.mailbox("user@d1.test").files())
    with server.dialog() as client:
        for line in ENVELOPE:
            client.expect(250, line)
        client.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
        assert client.reply().code == 250
        client.expect(250, "NOOP")
    server.config.mailbox("user@d1.test").wait(before + 1)
    [path] = delivered(server, b"chunk-of-commands")
    assert b"\n.\nMAIL FROM:<smuggled@r.test>\n" in path.read_bytes()
    assert server.config.mailbox("juan@d1.test").files() == []


@pytest.mark.parametrize(
    "line", [b"NOOP\nRSET\r\n", b"NOOP\n", b"NOOP\rQUIT\r\n", b"NOOP\r\r\n"], ids=repr
)
def test_a_bare_line_end_in_a_command_ends_the_session(server: RelevoServer, line: bytes) -> None:
    with server.dialog() as client:
        client.expect(250, "EHLO client.test")
        client.send(line + b"NOOP\r\n" * 3)
        assert client.reply().code == 500
        assert client.rest() == b""


@pytest.mark.parametrize(
    "injected",
    [
        b"NOOP\r\n",
        b"RSET\r\nNOOP\r\n",
        b"EHLO evil.test\r\nMAIL FROM:<evil@r.test>\r\nRCPT TO:<user@d1.test>\r\n",
        b"AUTH PLAIN AHVzZXJAZDEudGVzdABzZWNyZXQ=\r\n",
        b"\r\n" * 500,
    ],
    ids=["noop", "two commands", "envelope", "auth", "empty lines"],
)
def test_plaintext_behind_starttls_is_discarded(server: RelevoServer, injected: bytes) -> None:
    for address in (server.smtp, server.submission):
        with Dialog(address) as client:
            client.expect(250, "EHLO client.test")
            client.send(b"STARTTLS\r\n" + injected)
            assert client.reply().code == 220
            client.handshake()
            assert client.pending(0.2) == b"", "an injected command was answered inside TLS"
            if address == server.smtp:
                # what was said before TLS is forgotten
                client.expect(503, "MAIL FROM:<user@d1.test>")
                client.expect(250, "EHLO client.test")
                client.expect(503, "RCPT TO:<user@d1.test>")
            else:
                # and nobody is logged in
                client.expect(250, "EHLO client.test")
                client.expect(550, "MAIL FROM:<user@d1.test>")


def test_plaintext_after_the_reply_to_starttls_breaks_the_handshake(server: RelevoServer) -> None:
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO client.test")
        client.expect(220, "STARTTLS")
        client.send(b"NOOP\r\nRSET\r\n")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.handshake()


def test_data_that_ends_with_the_connection_is_dropped(server: RelevoServer) -> None:
    with server.dialog() as client:
        for line in ENVELOPE:
            client.expect(250, line)
        client.expect(354, "DATA")
        client.send(b"Subject: cut-off\r\n\r\nbody\r\n.\r")
    settle(server, "after-a-cut")
    assert delivered(server, b"cut-off") == []


def test_loss_of_tls_inside_data_drops_what_was_buffered(server: RelevoServer) -> None:
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        client.expect(250, "EHLO client.test")
        assert client.log_in("user@d1.test", "secret").code == 235
        client.expect(250, "MAIL FROM:<user@d1.test>")
        client.expect(250, "RCPT TO:<user@d1.test>")
        client.expect(354, "DATA")
        client.send(b"Subject: tls-lost\r\n\r\nbody\r\n")
        with suppress(OSError):
            client.tls_socket.unwrap()  # close_notify: the rest would be in clear
        with suppress(ConnectionEnded, OSError, ssl.SSLError, ValueError):
            client.send(b".\r\n")
            assert client.reply().code >= 400
    settle(server, "after-tls-loss")
    assert delivered(server, b"tls-lost") == []


def test_http_is_sent_away_at_once(server: RelevoServer) -> None:
    with server.dialog() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: mx.test\r\n\r\nEHLO x\r\n" + SECOND)
        assert client.reply().code == 502
        assert client.rest() == b""
