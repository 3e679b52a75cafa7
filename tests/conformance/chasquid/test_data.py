"""The message itself: line ends, header sanity, limits (rows D1–D12, D24)."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.stores import waiting_recipients

if TYPE_CHECKING:
    from conformance.chasquid.conftest import StartServer
    from conformance.chasquid.dialogue import Client
    from conformance.chasquid.servers import Server

MIB = 1024 * 1024
PARTING = b"QUIT\r\n"


def marked(rest: bytes = b"\r\nx\r\n") -> tuple[bytes, bytes]:
    """A marker nobody else uses, and a message that carries it in its first field."""
    marker = uuid.uuid4().hex.encode()
    return marker, b"X-Marker: " + marker + b"\r\n" + rest


def assert_accepts(client: Client) -> None:
    """A whole transaction works on this connection."""
    client.deliver()


@pytest.mark.case("D1")
def test_message_is_accepted_and_delivered(server: Server) -> None:
    marker, message = marked()
    with server.session() as client:
        client.envelope()
        reply = client.data(message)
        assert reply.text.startswith("250 2.0.0"), reply
    (delivery,) = server.config.wait_for_deliveries(1, marker)
    assert delivery.recipient == "user@d1.test"
    assert delivery.content.endswith(message)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"one\ntwo\r\n.\r\n", id="bare-lf", marks=pytest.mark.case("D2")),
        pytest.param(b"one\rtwo\r\n.\r\n", id="bare-cr", marks=pytest.mark.case("D3")),
        pytest.param(b"one\r\r\ntwo\r\n.\r\n", id="cr-cr-lf", marks=pytest.mark.case("D3")),
        pytest.param(b"one\r\n.\nMAIL", id="crlf-dot-lf", marks=pytest.mark.case("D3")),
        pytest.param(b"one\n.\r\nMAIL", id="lf-dot-crlf", marks=pytest.mark.case("D3")),
    ],
)
def test_only_crlf_ends_a_line_or_the_message(server: Server, body: bytes) -> None:
    """521 and the end of the connection, so that nothing behind it can be a smuggled command."""
    marker, message = marked()
    with server.session() as client:
        client.envelope()
        reply = client.data(message + body, end=b"\r\n.\r\n" + PARTING)
        assert reply.code == 521, reply
        assert client.is_closed()
    control, later = marked()
    with server.session() as client:
        client.envelope()
        assert client.data(later).code == 250
    server.config.wait_for_deliveries(1, control)
    assert server.config.deliveries(marker) == []


@pytest.mark.case("D4")
def test_empty_message(server: Server) -> None:
    with server.session() as client:
        client.envelope()
        reply = client.data(b"")
        assert reply.text.startswith("554 5.6.0"), reply


@pytest.mark.case("D5")
def test_blank_line_only(server: Server) -> None:
    with server.session() as client:
        client.envelope()
        assert client.data(b"\r\n").code == 250


@pytest.mark.case("D6")
@pytest.mark.parametrize("first", [b" A: b\r\n\r\nx\r\n", b"nocolon\r\n\r\nx\r\n"], ids=repr)
def test_header_block_that_is_none(server: Server, first: bytes) -> None:
    with server.session() as client:
        client.envelope()
        reply = client.data(first)
        assert reply.text.startswith("554 5.6.0"), reply


@pytest.mark.case("D7")
def test_header_fields_without_a_body(server: Server) -> None:
    with server.session() as client:
        client.envelope()
        assert client.data(b"A: b\r\nC: d\r\n").code == 250


@pytest.mark.case("D8")
@pytest.mark.parametrize(("hops", "expected"), [(50, "250"), (51, "554 5.4.6")])
def test_loop_detection(server: Server, hops: int, expected: str) -> None:
    _, message = marked()
    received = b"Received: from a by b; Tue, 24 Nov 2026 07:39:31 +0000\r\n" * hops
    with server.session() as client:
        client.envelope()
        reply = client.data(received + message)
        assert reply.text.startswith(expected), reply


@pytest.mark.case("D9")
def test_size_limit_counts_the_octets_on_the_wire(server: Server) -> None:
    _, message = marked()
    line = b"x" * 70 + b"\r\n"
    room = MIB - len(b".\r\n") - len(message)
    fitting = message + line * (room // len(line) - 1)
    fitting += b"y" * (MIB - len(b".\r\n") - len(fitting) - 2) + b"\r\n"
    assert len(fitting + b".\r\n") == MIB
    with server.connect(timeout=5) as client:
        client.ehlo()
        client.envelope()
        assert client.data(fitting).code == 250
        client.envelope()
        reply = client.data(fitting[:-2] + b"y\r\n")
        assert reply.text.startswith("552 5.3.4"), reply
        client.expect("RSET", "250")
        assert_accepts(client)


@pytest.mark.case("D10")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"l" * 5000, id="long-line"),
        pytest.param(b"nul \0 nul", id="nul"),
        pytest.param("\u00e9\u4e2d".encode() + b"\xff\xfe", id="8-bit"),
    ],
)
def test_unusual_content_is_delivered_unchanged(server: Server, content: bytes) -> None:
    marker, message = marked(b"\r\n" + content + b"\r\n")
    with server.session() as client:
        client.envelope()
        assert client.data(message).code == 250
    (delivery,) = server.config.wait_for_deliveries(1, marker)
    assert delivery.content.endswith(message)


@pytest.mark.case("D11")
def test_failed_data_ends_the_transaction(server: Server) -> None:
    with server.session() as client:
        client.envelope()
        assert client.data(b"").code == 554
        client.expect("DATA", "503")


@pytest.mark.case("D12")
def test_accepted_data_ends_the_transaction(server: Server) -> None:
    with server.session() as client:
        client.deliver()
        client.expect("RCPT TO:<user@d1.test>", "503")


@pytest.mark.case("D24")
def test_full_queue(start: StartServer) -> None:
    """relevo counts what waits once a second, so a few more may come in before it notices."""
    server = start(keys={"max_queue_items": "2"})
    server.config.order("user@d1.test", "exit 75")
    accepted = 0
    deadline = time.monotonic() + 5
    with server.session() as client:
        while True:
            client.envelope()
            reply = client.data()
            if reply.code != 250:
                break
            accepted += 1
            server.config.wait_for_log("failed (temporary)", count=accepted)
            assert time.monotonic() < deadline, f"{accepted} messages accepted"
    assert reply.text.startswith("451 4.3.0"), reply
    assert accepted >= 2
    assert len(waiting_recipients(server.column, server.config.data_dir)) == accepted
