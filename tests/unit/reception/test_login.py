"""AUTH: what a session may do afterwards."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest

from relevo.journal import Authenticated
from relevo.smtp import ServerSession
from unit.reception.conftest import Client, Place, Running

RELAY = "MAIL FROM:<user@d1.test>\r\nRCPT TO:<x@r.test>\r\n"


def connected(place: Place) -> Client:
    """A client whose session believes that TLS is up."""
    client = place.connect()
    settings = replace(client.connection.session.settings, mechanisms=("PLAIN",))
    client.connection.session = ServerSession(settings, is_tls=True)
    client.connection.session.greet()
    client.say("EHLO cli\r\n")
    return client


async def log_in(client: Client, password: str) -> str:
    response = b64encode(f"\0user@d1.test\0{password}".encode()).decode()
    client.heard()
    client.say(f"AUTH PLAIN {response}\r\n")
    task = client.connection._task
    assert task is not None
    await task
    return client.heard()


def test_a_login_may_relay(place: Place, running: Running) -> None:
    async def run() -> None:
        client = connected(place)
        assert (await log_in(client, "secret")).startswith("235 2.7.0")
        assert client.say(RELAY).splitlines()[-1].startswith("250 2.1.5")
        event = place.events[-1]
        assert isinstance(event, Authenticated)
        assert (event.user, event.succeeded) == ("user@d1.test", True)

    running(run())


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_failed_login_gives_no_rights(place: Place, running: Running, password: str) -> None:
    async def run() -> None:
        client = connected(place)
        assert (await log_in(client, password)).startswith("535 5.7.8")
        event = place.events[-1]
        assert isinstance(event, Authenticated)
        assert (event.user, event.succeeded) == ("user@d1.test", False)
        assert client.say(RELAY).splitlines()[-1].startswith("503 5.7.1")

    running(run())


def test_a_mechanism_that_a_reload_took_away_is_refused_and_the_session_goes_on(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client = connected(place)
        place.set("auth", mechanisms=("LOGIN",))
        client.services.authenticator = place.services().authenticator
        client.heard()
        assert client.say("AUTH PLAIN\r\n").startswith("504 5.5.4")
        assert client.say("RSET\r\n").startswith("250")
        assert not client.transport.is_closed

    running(run())
