"""Who is no configured proxy cannot claim to be somebody else, whichever way it tries."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from harness.dialog import ConnectionEnded, Dialog
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer

BINARY = b"\r\n\r\n\0\r\nQUIT\n"
LOOPBACK = socket.inet_aton("127.0.0.1") * 2 + b"\0\x19\0\x19"
HEADERS = (
    b"PROXY TCP4 127.0.0.1 127.0.0.1 25 25\r\n",
    b"PROXY UNKNOWN\r\n",
    BINARY + b"\x21\x11\0\x0c" + LOOPBACK,
    BINARY + b"\x20\0\0\0",
)
# from a trusted proxy: each is refused, and none is waited on for more than the deadline
BROKEN_HEADERS = (
    b"PROXY TCP4 127.0.0.1 127.0.0.1 25\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 25 99999\r\n",
    b"PROXY TCP4 127.0.0.1\0 127.0.0.1 25 25\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 25 25\r",
    b"PROXY TCP4 0x7f000001 127.0.0.1 25 25\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 25 25 PROXY\r\n",
    b"PROXY " + b"A" * 200,
    b"proxy TCP4 127.0.0.1 127.0.0.1 25 25\r\n",
    BINARY + b"\x11\x11\0\x0c" + LOOPBACK,
    BINARY + b"\x22\x11\0\x0c" + LOOPBACK,
    BINARY + b"\x21\x11\0\x04" + LOOPBACK[:4],
    BINARY + b"\x21\x11\xff\xff" + LOOPBACK + b"\0" * 65524,
    b"EHLO client.test\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"\0" * 300,
)


@pytest.fixture(scope="module")
def factory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelevoFactory]:
    with reaping(request) as reaper:
        yield RelevoFactory(reaper, tmp_path_factory.mktemp("spoofed"))


@pytest.fixture(scope="module")
def plain(factory: RelevoFactory) -> RelevoServer:
    """Knows one proxy by XCLIENT, which is not where the tests come from."""
    return factory(name="plain", settings={"xclient.trusted": ["127.0.0.99"]})


@pytest.fixture(scope="module")
def behind(factory: RelevoFactory) -> RelevoServer:
    """Has its connections from a proxy."""
    return factory(
        name="behind",
        settings={"listen.haproxy": True, "proxy.trusted": ["127.0.0.99"]},
    )


def everything(address: tuple[str, int], octets: bytes, source: str) -> bytes:
    """What the server says to octets that are sent at once, until it closes."""
    said = b""
    connection = socket.create_connection(address, timeout=15, source_address=(source, 0))
    with connection, suppress(OSError):
        connection.sendall(octets)
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            said += data
    return said


@pytest.mark.parametrize("header", HEADERS, ids=repr)
def test_a_proxy_header_on_a_plain_listener_is_a_bad_command(
    plain: RelevoServer, header: bytes
) -> None:
    said = everything(plain.smtp, header + b"EHLO x\r\n", "127.0.0.1")
    codes = [line[:1] for line in said.splitlines()]
    assert codes[0] == b"2"
    assert codes[1] == b"5", said


@pytest.mark.parametrize("header", HEADERS, ids=repr)
def test_a_header_from_an_unknown_proxy_is_not_even_answered(
    behind: RelevoServer, header: bytes
) -> None:
    assert everything(behind.smtp, header + b"EHLO x\r\n", "127.0.0.1") == b""


@pytest.mark.parametrize("header", BROKEN_HEADERS, ids=lambda header: repr(header)[:50])
def test_a_broken_header_ends_the_connection_unanswered(
    behind: RelevoServer, header: bytes
) -> None:
    assert everything(behind.smtp, header + b"EHLO x\r\n", "127.0.0.99") == b""


def test_a_second_header_is_a_bad_command(behind: RelevoServer) -> None:
    said = everything(behind.smtp, HEADERS[0] + HEADERS[0] + b"QUIT\r\n", "127.0.0.99")
    assert [line[:3] for line in said.splitlines()] == [b"220", b"500", b"221"]


def test_xclient_is_neither_offered_to_others_nor_taken_from_them(plain: RelevoServer) -> None:
    with plain.dialog() as client:
        assert "XCLIENT" not in client.expect(250, "EHLO x").text
        assert client.command("XCLIENT ADDR=127.0.0.1 PORT=25").code in {500, 502, 503, 550}
        with suppress(ConnectionEnded):
            client.expect(250, "MAIL FROM:<a@r.test>")
            assert client.command("RCPT TO:<victim@other.test>").code == 503


@pytest.mark.parametrize(
    "attributes",
    [
        "LOGIN=user@d1.test",
        "ADDR=127.0.0.1 LOGIN=user@d1.test",
        "ADDR=127.0.0.1 PROTO=ESMTP DESTPORT=587",
        "ADDR=127.0.0.1+0D+0AMAIL",
        "ADDR=[127.0.0.1]",
        "ADDR=localhost",
        "ADDR=127.0.0.1 ADDR=192.0.2.1",
        "PORT=99999",
        "=",
        "ADDR",
    ],
)
def test_even_a_listed_proxy_cannot_log_in_for_others_or_inject(
    plain: RelevoServer, attributes: str
) -> None:
    with Dialog(plain.smtp, source="127.0.0.99") as client:
        assert "XCLIENT" in client.expect(250, "EHLO proxy.test").text
        reply = client.command(f"XCLIENT {attributes}")
        if reply.code == 220:
            client.expect(250, "EHLO client.test")
        client.expect(250, "MAIL FROM:<user@d1.test>")
        assert client.command("RCPT TO:<victim@other.test>").code == 503
