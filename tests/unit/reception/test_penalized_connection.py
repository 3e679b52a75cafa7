"""What a connection does about its client's conduct: pauses, an end, a refusal at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relevo.directory import Directory, UnknownNow
from relevo.reception import Mode, Penalties, PenaltyTable, Services
from unit.reception.conftest import Place, Running

HELLO = "EHLO cli\r\nMAIL FROM:<a@r.test>\r\n"


def watched(place: Place, **settings: Any) -> Services:
    """Services under which the second refused recipient is delayed and the fourth is the last."""
    values: dict[str, Any] = {
        "delay_from": 3,
        "refuse_from": 7,
        "max_delay": timedelta(seconds=1),
        **settings,
    }
    place.config = replace(
        place.config, penalties=replace(place.config.penalties, exempt=(), **values)
    )
    services = place.services()
    services.penalties = Penalties(PenaltyTable(1))
    services.penalties.use(place.config, services.count)
    return services


def test_an_answer_is_held_back_and_nothing_behind_it_runs_before(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client = place.connect(services=watched(place, max_delay=timedelta(milliseconds=100)))
        client.say(HELLO)
        client.heard()
        output = client.say("RCPT TO:<x@d1.test>\r\n")
        assert output.startswith("550 5.1.1"), "the first is answered at once"
        assert client.say("RCPT TO:<y@d1.test>\r\nRCPT TO:<user@d1.test>\r\n") == ""
        assert client.say("RSET\r\n") == ""
        await asyncio.sleep(0.2)
        assert [line[:3] for line in client.heard().splitlines()] == ["550", "250", "250"]

    running(run())


def test_a_reading_client_cannot_fill_memory_meanwhile(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect(services=watched(place))
        client.say(HELLO + "RCPT TO:<x@d1.test>\r\nRCPT TO:<y@d1.test>\r\n")
        for _ in range(3):
            client.say("NOOP\r\n" * 10_000)
        assert not client.transport.is_reading
        client.connection.connection_lost(None)

    running(run())


def test_a_source_that_is_refused_hears_421_at_once_and_so_does_its_open_session(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        services = watched(place, max_delay=timedelta(0))
        client = place.connect(services=services)
        other = place.connect(services=services)
        client.say(HELLO + "".join(f"RCPT TO:<{n}@d1.test>\r\n" for n in range(4)))
        refused = place.connect(services=services)
        assert refused.heard().startswith("421 4.7.0 Try again later: too many errors")
        assert refused.transport.is_closed
        other.say("XYZZY\r\n")
        await asyncio.sleep(0.1)
        assert "\r\n421 4.7.0 " in other.heard()
        assert other.transport.is_closed

    running(run())


def test_a_refused_connection_takes_no_place_in_the_count(place: Place, running: Running) -> None:
    async def run() -> None:
        services = watched(place, max_delay=timedelta(0))
        client = place.connect(services=services)
        client.say(HELLO + "".join(f"RCPT TO:<{n}@d1.test>\r\n" for n in range(4)))
        refused = place.connect(services=services)
        refused.connection.connection_lost(None)
        assert place.table.total() == 1

    running(run())


def test_temporary_refusals_bring_no_points(
    place: Place, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "exists_now", lambda *_: UnknownNow("the hook failed"))

    async def run() -> None:
        services = watched(place, unknown_recipient=4, protocol_error=4)
        client = place.connect(services=services)
        output = client.say(HELLO + "RCPT TO:<user@d1.test>\r\n" * 6)
        assert output.count("451 4.4.3") == 6
        assert place.connect(services=services).heard().startswith("220 ")

    running(run())


@pytest.mark.parametrize("mode", [Mode.SMTP, Mode.SUBMISSION])
def test_a_greeting_is_held_back_as_well(place: Place, running: Running, mode: Mode) -> None:
    async def run() -> None:
        services = watched(place, max_delay=timedelta(milliseconds=100))
        first = place.connect(services=services)
        first.say(HELLO + "RCPT TO:<x@d1.test>\r\nRCPT TO:<y@d1.test>\r\n")
        second = place.connect(mode, services=services)
        assert second.say("EHLO early\r\n") == ""
        await asyncio.sleep(0.2)
        assert second.heard().startswith("220 ")

    running(run())
