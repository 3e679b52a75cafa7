"""XCLIENT: who is offered it, and what the address that it names is used for."""

from __future__ import annotations

import pytest

from relevo.reception import Mode
from unit.reception.conftest import Place, Running

XCLIENT = "XCLIENT ADDR=198.51.100.9 PORT=1111\r\n"
MESSAGE = "A: b\r\n\r\nx\r\n.\r\n"
ENVELOPE = "EHLO cli\r\nMAIL FROM:<a@pass.test>\r\nRCPT TO:<user@d1.test>\r\nDATA\r\n"


@pytest.fixture
def listed(place: Place) -> Place:
    place.set("xclient", trusted=("192.0.2.0/24",))
    return place


def test_a_listed_proxy_names_its_client(listed: Place, running: Running) -> None:
    async def run() -> None:
        client = listed.connect()
        assert "250-XCLIENT " in client.say("EHLO proxy\r\n")
        assert client.say(XCLIENT).startswith("220 mx.test ESMTP")
        assert client.connection.client == "198.51.100.9:1111"
        client.say(ENVELOPE)
        await client.say_and_wait(MESSAGE)
        (message,) = listed.store.added
        start = message.content.first(2000)
        assert b"198.51.100.9" in start
        assert b"192.0.2.7" not in start
        assert b"proxy" not in start

    running(run())


@pytest.mark.parametrize("mode", [Mode.SMTP, Mode.SUBMISSION], ids=lambda mode: mode.value)
def test_others_are_not_offered_it(place: Place, running: Running, mode: Mode) -> None:
    async def run() -> None:
        place.set("xclient", trusted=("192.0.2.8/32",))
        client = place.connect(mode)
        assert "XCLIENT" not in client.say("EHLO stranger\r\n")
        assert client.say(XCLIENT).startswith("500 ")
        assert client.connection.client == "192.0.2.7:4711"

    running(run())


def test_a_port_alone_changes_the_port(listed: Place, running: Running) -> None:
    async def run() -> None:
        client = listed.connect()
        client.say("XCLIENT PORT=5\r\n")
        assert client.connection.client == "192.0.2.7:5"

    running(run())


def test_an_ipv6_client_stands_in_brackets(listed: Place, running: Running) -> None:
    async def run() -> None:
        client = listed.connect()
        client.say("XCLIENT ADDR=IPV6:2001:db8::7 PORT=5\r\n")
        assert client.connection.client == "[2001:db8::7]:5"

    running(run())


def test_the_client_is_counted_in_place_of_the_proxy(listed: Place, running: Running) -> None:
    async def run() -> None:
        listed.set("limits", connections_per_source=1)
        services = listed.services()
        first = listed.connect(services=services)
        first.say(XCLIENT)
        second = listed.connect(services=services)  # the proxy's own place is free again
        second.heard()
        assert second.say(XCLIENT).startswith("421 4.7.0")
        assert second.transport.is_closed
        second.connection.connection_lost(None)
        assert listed.table.total() == 1
        first.connection.connection_lost(None)
        assert listed.table.total() == 0

    running(run())


def test_the_address_behind_a_proxy_header_is_the_one_that_is_listed(
    listed: Place, running: Running
) -> None:
    async def run() -> None:
        listed.set("listen", haproxy=True)
        listed.set("proxy", trusted=("192.0.2.7/32",))
        client = listed.connect()
        client.say("PROXY TCP4 203.0.113.5 192.0.2.1 1 25\r\n")
        assert client.say(XCLIENT).startswith("500 ")
        assert client.connection.client == "203.0.113.5:1"

    running(run())
