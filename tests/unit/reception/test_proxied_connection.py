"""A connection behind a proxy: whose word is taken, and what the client's address is used for."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import pytest

from relevo.journal import Rejected
from relevo.reception import Mode
from relevo.reception.connection import LAST_WORDS
from unit.reception.conftest import Client, Place, Running

HEADER = "PROXY TCP4 198.51.100.9 192.0.2.1 1111 25\r\n"
PROXY = "192.0.2.7/32"  # the peer of every connection here


@pytest.fixture
def behind(place: Place) -> Place:
    place.set("listen", haproxy=True)
    place.set("proxy", trusted=(PROXY,))
    return place


def test_nothing_is_said_before_the_header(behind: Place, running: Running) -> None:
    async def run() -> None:
        client = behind.connect()
        assert client.heard() == ""
        assert client.say(HEADER[:9]) == ""
        assert client.say(HEADER[9:]).startswith("220 mx.test ESMTP")
        assert client.connection.client == "198.51.100.9:1111"

    running(run())


def test_octets_behind_the_header_are_the_clients(behind: Place, running: Running) -> None:
    async def run() -> None:
        output = behind.connect().say(HEADER + "EHLO cli\r\n")
        assert output.startswith("220 ")
        assert "\r\n250 HELP\r\n" in output

    running(run())


def test_events_and_trace_name_the_client_not_the_proxy(behind: Place, running: Running) -> None:
    async def run() -> None:
        client = behind.connect()
        client.say(HEADER + "EHLO cli\r\nMAIL FROM:<a@pass.test>\r\nRCPT TO:<no@d1.test>\r\n")
        (refusal,) = behind.events
        assert isinstance(refusal, Rejected)
        assert refusal.client == "198.51.100.9:1111"
        client.say("RCPT TO:<user@d1.test>\r\nDATA\r\n")
        await client.say_and_wait("A: b\r\n\r\nx\r\n.\r\n")
        (message,) = behind.store.added
        start = message.content.first(2000)
        assert b"198.51.100.9" in start
        assert b"192.0.2.7" not in start

    running(run())


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param("EHLO cli\r\n", id="none"),
        pytest.param("PROXY UNKNOWN\r\n", id="unknown"),
        pytest.param("PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n", id="malformed"),
        pytest.param("PROXY TCP4 " + "1" * 200, id="too long"),
    ],
)
def test_without_a_header_the_connection_is_closed_unanswered(
    behind: Place, running: Running, octets: str
) -> None:
    async def run() -> None:
        client = behind.connect()
        assert client.say(octets) == ""
        assert client.transport.is_closed

    running(run())


def test_a_header_of_a_stranger_is_not_read(behind: Place, running: Running) -> None:
    async def run() -> None:
        behind.set("proxy", trusted=("192.0.2.8/32",))
        client = behind.connect()
        assert client.transport.is_closed
        assert client.heard() == ""

    running(run())


def test_a_header_is_no_command_where_no_proxy_is_configured(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client = place.connect()
        client.heard()
        assert client.say(HEADER).startswith("500 ")
        assert client.connection.client_ip == "192.0.2.7"

    running(run())


def test_a_proxy_that_speaks_for_itself_is_the_client(behind: Place, running: Running) -> None:
    async def run() -> None:
        client = behind.connect()
        local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
        assert client.say(local).startswith("220 ")
        assert client.connection.client == "192.0.2.7:4711"

    running(run())


def test_a_header_that_does_not_come_is_not_waited_for(behind: Place, running: Running) -> None:
    async def run() -> None:
        client = behind.connect()
        client.say("PROXY ")
        now = asyncio.get_running_loop().time()
        limit = behind.config.limits.handshake_timeout.total_seconds()
        client.connection.check_deadlines(now + limit - 1)
        assert not client.transport.is_closed
        client.connection.check_deadlines(now + limit + 1)
        assert client.heard() == ""
        assert client.transport.is_closed

    running(run())


def test_a_stop_does_not_wait_for_a_header(behind: Place, running: Running) -> None:
    async def run() -> None:
        client = behind.connect()
        client.connection.drain(asyncio.get_running_loop().time() + LAST_WORDS)
        assert client.transport.is_closed
        assert client.heard() == ""

    running(run())


def test_clients_are_counted_each_by_its_own_address(behind: Place, running: Running) -> None:
    async def run() -> None:
        behind.set("limits", connections_per_source=1)
        services = behind.services()

        def connect(ip: str) -> Client:
            client = behind.connect(services=services)
            client.say(HEADER.replace("198.51.100.9", ip))
            return client

        clients = [connect(f"198.51.100.{number}") for number in range(3)]
        assert not any(client.transport.is_closed for client in clients)
        again = connect("198.51.100.2")
        assert again.transport.is_closed
        waiting = behind.connect(services=services)
        assert behind.table.total() == 4
        for client in (*clients, again, waiting):
            client.connection.connection_lost(None)
        assert behind.table.total() == 0

    running(run())


def test_connections_without_a_header_yet_are_within_the_total(
    behind: Place, running: Running
) -> None:
    async def run() -> None:
        behind.set("limits", connections=2)
        services = behind.services()
        clients = [behind.connect(services=services) for _ in range(3)]
        assert [client.transport.is_closed for client in clients] == [False, False, True]
        clients[0].connection.connection_lost(None)
        assert not behind.connect(services=services).transport.is_closed

    running(run())


def test_the_header_stands_in_front_of_the_handshake(behind: Place, running: Running) -> None:
    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        services = replace(behind.services(), tls_context=context)
        client = behind.connect(Mode.SUBMISSION_TLS, services)
        assert client.say(HEADER) == ""
        assert client.connection.client_ip == "198.51.100.9"
        assert not client.transport.is_closed
        client.connection.data_received(b"EHLO in clear\r\n")  # no handshake
        assert b"500" not in client.transport.written
        assert client.transport.is_closed

    running(run())
