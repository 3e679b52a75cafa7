"""Octets, deadlines, limits and the end of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest

from relevo.reception import Mode
from relevo.reception.connection import LAST_WORDS
from unit.reception.conftest import Place, Running, settle

if TYPE_CHECKING:
    from relevo.tls_layer import TlsLayer

HELLO = "EHLO cli\r\n"
TO_USER = "MAIL FROM:<a@pass.test>\r\nRCPT TO:<user@d1.test>\r\n"


def test_one_read_is_answered_by_one_write(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO)
        before = client.transport.writes
        client.say(TO_USER + "DATA\r\n")
        assert client.transport.writes == before + 1

    running(run())


def test_a_source_with_too_many_connections_gets_421(place: Place, running: Running) -> None:
    async def run() -> None:
        place.set("limits", connections_per_source=1)
        services = place.services()
        first = place.connect(services=services)
        assert first.heard().startswith("220 mx.test ESMTP")
        second = place.connect(services=services)
        assert second.heard().startswith("421 4.7.0")
        assert second.transport.is_closed
        second.connection.connection_lost(None)
        first.connection.connection_lost(None)
        assert place.connect(services=services).heard().startswith("220")

    running(run())


def test_silence_between_commands_ends_with_421(place: Place, running: Running) -> None:
    async def run() -> None:
        place.set("limits", command_timeout=timedelta(seconds=60))
        client = place.connect()
        client.heard()
        now = asyncio.get_running_loop().time()
        client.connection.check_deadlines(now + 59)
        assert not client.transport.is_closed
        client.say("NO")  # half a command does not buy time
        client.connection.check_deadlines(now + 61)
        assert client.heard().startswith("421 4.4.2")
        assert client.transport.is_closed

    running(run())


def test_silence_inside_a_message_ends_with_421(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\nA: b\r\n")
        client.heard()
        now = asyncio.get_running_loop().time()
        client.connection.check_deadlines(now + 179)
        assert not client.transport.is_closed
        client.connection.check_deadlines(now + 181)
        assert client.heard().startswith("421 4.4.2")

    running(run())


def test_a_message_that_trickles_in_ends_with_421(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\n")
        client.heard()
        now = asyncio.get_running_loop().time()
        for seconds in range(60, 700, 60):
            client.connection._clocks.read = now + seconds
            client.connection.check_deadlines(now + seconds + 1)
        assert "421 4.4.2" in client.heard()

    running(run())


def test_a_large_message_goes_to_the_spool(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\nA: b\r\n\r\n")
        line = "x" * 1022 + "\r\n"
        for _ in range(100):
            client.say(line * 64)
        output = await client.say_and_wait(".\r\n")
        assert "250 2.0.0 Accepted" in output
        (message,) = place.store.added
        assert message.content.size > 100 * 64 * 1024
        assert message.content.first(20_000_000).endswith(b"A: b\r\n\r\n" + (line * 6400).encode())

    running(run())


def test_reading_stops_while_the_spool_is_behind(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\nA: b\r\n\r\n")
        block = ("x" * 1022 + "\r\n") * 512
        client.say(block)
        place.store.spools[0].is_stuck = True
        client.say(block)
        client.say(block)
        await settle()  # the pause after a burst is over
        assert not client.transport.is_reading
        place.store.spools[0].release.set()
        await settle()
        assert client.transport.is_reading

    running(run())


def test_a_lost_connection_drops_the_spool(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\nA: b\r\n\r\n" + ("x" * 1022 + "\r\n") * 512)
        client.connection.connection_lost(None)
        assert place.store.spools[0].is_aborted

    running(run())


def test_reading_stops_for_a_client_that_does_not_read(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.connection.pause_writing()
        assert not client.transport.is_reading
        client.connection.resume_writing()
        assert client.transport.is_reading

    running(run())


def test_a_draining_server_ends_idle_sessions_and_lets_transactions_end(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        services = place.services()
        idle, busy = place.connect(services=services), place.connect(services=services)
        busy.say(HELLO + TO_USER)
        idle.heard()
        busy.heard()
        services.is_draining = True
        now = asyncio.get_running_loop().time()
        idle.connection.drain(now)
        assert idle.heard() == "", "its client may be about to say something"
        idle.connection.drain(now + LAST_WORDS)
        busy.connection.drain(now + LAST_WORDS)
        assert idle.heard().startswith("421 4.3.2")
        assert idle.transport.is_closed
        assert not busy.transport.is_closed
        output = await busy.say_and_wait("DATA\r\nA: b\r\n\r\nx\r\n.\r\n")
        assert "250 2.0.0 Accepted" in output
        assert output.splitlines()[-1].startswith("421 4.3.2")
        assert busy.transport.is_closed

    running(run())


def test_a_client_of_a_draining_server_who_has_just_come_has_one_transaction(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        services = place.services()
        client = place.connect(services=services)
        services.is_draining = True
        client.say(HELLO)
        client.say(TO_USER)
        assert "421" not in client.heard()
        output = await client.say_and_wait("DATA\r\nA: b\r\n\r\nx\r\n.\r\n")
        assert "250 2.0.0 Accepted" in output
        assert output.splitlines()[-1].startswith("421 4.3.2")

    running(run())


def test_an_unexpected_error_ends_the_session_with_421(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO)
        client.heard()

        def broken() -> None:
            raise ZeroDivisionError

        client.services.directory = broken  # type: ignore[assignment]  # that is the point
        client.say("MAIL FROM:<a@pass.test>\r\n")
        output = client.say("RCPT TO:<user@d1.test>\r\n")
        assert output.startswith("421 4.3.0")
        assert client.transport.is_closed

    running(run())


def test_a_client_that_takes_no_replies_is_not_waited_for_inside_a_message(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\nA: b\r\n")
        client.connection.pause_writing()
        assert not client.transport.is_reading
        now = asyncio.get_running_loop().time()
        client.connection.check_deadlines(now + 181)
        assert client.transport.is_closed

    running(run())


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(TO_USER + "DATA\r\nA: b\r\n\r\n" + "x" * 2100, id="data-too-large"),
        pytest.param(TO_USER + "BDAT 999999999\r\nA: b", id="chunk-too-large"),
        pytest.param("MAIL FROM:<a@pass.test>\r\nBDAT 999999999\r\nA: b", id="out-of-sequence"),
    ],
)
def test_a_message_that_was_refused_ends_with_the_life_of_its_connection(
    place: Place, running: Running, octets: str
) -> None:
    async def run() -> None:
        place.set("smtp", max_message_size=2000)
        place.set("limits", data_min_rate=0, connection_lifetime=timedelta(minutes=2))
        client = place.connect()
        client.say(HELLO + octets)
        now = asyncio.get_running_loop().time()
        client.connection.check_deadlines(now + 119)
        assert not client.transport.is_closed
        client.connection.check_deadlines(now + 121)
        assert client.transport.is_closed

    running(run())


def test_a_message_that_may_be_accepted_outlives_the_life_of_its_connection(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        place.set("limits", connection_lifetime=timedelta(minutes=2))
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\nA: b\r\n\r\n")
        client.connection.check_deadlines(asyncio.get_running_loop().time() + 121)
        assert not client.transport.is_closed

    running(run())


def test_without_a_certificate_a_tls_listener_ends_connections(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client = place.connect(Mode.SUBMISSION_TLS)
        assert client.transport.is_closed
        client.connection.connection_lost(None)
        assert place.table.total() == 0

    running(run())


def test_names_that_clients_invent_fill_no_memory(place: Place, running: Running) -> None:
    async def run() -> None:
        services = place.services()
        for number in range(2000):
            name = f"{number}.wild.test"
            assert services.session_settings(Mode.SMTP, name).hostname == name
        assert len(services._settings) <= 256

    running(run())


def test_what_came_before_the_end_of_the_input_is_answered(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        place.store.gate = asyncio.Event()
        client.say(HELLO + TO_USER + "DATA\r\n")
        client.say("Subject: x\r\n\r\nx\r\n.\r\nNOOP\r\nQUIT\r\n")
        assert client.connection.eof_received()
        assert client.heard() == ""
        place.store.gate.set()
        await settle()
        assert [line[:3] for line in client.heard().splitlines()] == ["250", "250", "221"]
        assert client.transport.is_closed

    running(run())


def test_the_end_of_the_input_inside_a_message_ends_the_connection(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + TO_USER + "DATA\r\nSubject: x\r\n\r\nx\r\n")
        assert not client.connection.eof_received()
        assert client.transport.is_closed
        assert place.store.added == []

    running(run())


class AskingTls:
    """A layer whose client sends no octet of its own, but makes TLS answer."""

    is_up = True

    def receive(self, data: bytes) -> None:
        self.output = b"answer to " + data

    def plaintext(self) -> Iterator[bytes]:
        return iter(())

    def take_output(self) -> bytes:
        return self.output


def test_answers_of_tls_itself_do_not_pile_up(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.heard()
        client.connection._tls = cast("TlsLayer", AskingTls())
        assert client.say("KeyUpdate") == "answer to KeyUpdate"

    running(run())
