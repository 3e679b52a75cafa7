"""What a session is told, and what of it reaches the store and the journal."""

from __future__ import annotations

import asyncio

import pytest

from relevo.directory import Directory, UnknownNow
from relevo.journal import Accepted, Rejected
from relevo.queue.store import StoreFailed
from relevo.reception import Mode
from unit.reception.conftest import Place, Running, settle

HELLO = "EHLO cli\r\n"
TO_USER = "MAIL FROM:<a@pass.test>\r\nRCPT TO:<user@d1.test>\r\n"
MESSAGE = "DATA\r\nA: b\r\n\r\nx\r\n.\r\n"


def codes(output: str) -> list[str]:
    return [line[:9] if line[4:5].isdigit() else line[:3] for line in output.splitlines()]


def test_a_message_is_stored_before_its_250(place: Place, running: Running) -> None:
    async def run() -> None:
        place.store.gate = asyncio.Event()
        client = place.connect()
        client.say(HELLO)
        before = await client.say_and_wait(TO_USER + MESSAGE)
        assert codes(before) == ["250 2.1.0", "250 2.1.5", "354"]
        place.store.gate.set()
        await settle()
        (message,) = place.store.added
        assert client.heard() == f"250 2.0.0 Accepted as {message.id}\r\n"
        assert b"with ESMTP id " + message.id.encode() in message.content.first(1000)
        assert message.content.first(5000).endswith(b"A: b\r\n\r\nx\r\n")
        assert isinstance(place.events[-1], Accepted)

    running(run())


def test_a_failed_store_is_451_and_the_transaction_is_over(place: Place, running: Running) -> None:
    async def run() -> None:
        place.store.failure = StoreFailed("disk full: /secret/path")
        client = place.connect()
        client.say(HELLO)
        output = await client.say_and_wait(TO_USER + MESSAGE)
        assert codes(output)[-1] == "451 4.3.0"
        assert "secret" not in output
        refusal = place.events[-1]
        assert isinstance(refusal, Rejected)
        assert "disk full" in refusal.reason
        assert codes(client.say("DATA\r\n")) == ["503 5.5.1"]

    running(run())


@pytest.mark.parametrize(
    ("forward_path", "expected"),
    [
        pytest.param("user@d1.test", "250 2.1.5", id="user"),
        pytest.param("US.ER+tag@D1.Test", "250 2.1.5", id="dots, suffix and case"),
        pytest.param("al@d1.test", "250 2.1.5", id="alias"),
        pytest.param("nobody@d1.test", "550 5.1.1", id="unknown user"),
        pytest.param("us\u200der@d1.test", "550 5.1.3", id="zero width joiner"),
        pytest.param("x@r.test", "503 5.7.1", id="relay"),
        pytest.param('"a@d1.test"@r.test', "503 5.7.1", id="relay behind a quoted local part"),
        pytest.param("user%d1.test@r.test", "503 5.7.1", id="percent hack"),
        pytest.param("user@[127.0.0.1]", "503 5.7.1", id="address literals are never local"),
        pytest.param("postmaster", "250 2.1.5", id="postmaster"),
        pytest.param("a" * 250 + "@d1.test", "501 5.1.3", id="too long"),
    ],
)
def test_recipients(place: Place, running: Running, forward_path: str, expected: str) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + "MAIL FROM:<a@pass.test>\r\n")
        client.heard()
        assert codes(client.say(f"RCPT TO:<{forward_path}>\r\n")) == [expected]

    running(run())


def test_refused_recipients_are_recorded_with_reason(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + "MAIL FROM:<a@pass.test>\r\nRCPT TO:<nobody@d1.test>\r\n")
        event = place.events[-1]
        assert isinstance(event, Rejected)
        assert event.client == "192.0.2.7:4711"
        assert event.reverse_path == "a@pass.test"
        assert event.forward_paths == ("nobody@d1.test",)
        assert event.code == 550

    running(run())


def test_a_recipient_who_cannot_be_looked_up_is_451(
    place: Place, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "exists_now", lambda *_: UnknownNow("the disk"))

    async def run() -> None:
        client = place.connect()
        client.say(HELLO + "MAIL FROM:<a@pass.test>\r\n")
        client.heard()
        assert codes(client.say("RCPT TO:<user@d1.test>\r\n")) == ["451 4.4.3"]

    running(run())


def test_recipients_after_expansion_are_bounded(place: Place, running: Running) -> None:
    async def run() -> None:
        place.set("limits", expanded_recipients=1)
        client = place.connect()
        client.say(HELLO)
        to_two = "MAIL FROM:<a@pass.test>\r\nRCPT TO:<al@d1.test>\r\n"
        assert codes(await client.say_and_wait(TO_USER + MESSAGE))[-1] == "250 2.0.0"
        assert codes(await client.say_and_wait(to_two + MESSAGE))[-1] == "451 4.5.3"
        assert len(place.store.added) == 1

    running(run())


def test_an_alias_loop_is_451_for_the_message(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO)
        output = await client.say_and_wait(
            "MAIL FROM:<>\r\nRCPT TO:<user@d1.test>\r\nRCPT TO:<loop@d1.test>\r\n" + MESSAGE
        )
        assert codes(output)[-1] == "451 4.3.0"
        assert place.store.added == []

    running(run())


def test_aliases_are_expanded_into_units_by_route(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO)
        await client.say_and_wait(
            "MAIL FROM:<a@pass.test>\r\nRCPT TO:<al@d1.test>\r\nRCPT TO:<user@d1.test>\r\n"
            + MESSAGE
        )
        (message,) = place.store.added
        units = {unit.route: [r.target for r in unit.recipients] for unit in message.units}
        assert units == {"local": ["user@d1.test"], "mx:r.test": ["x@r.test"]}

    running(run())


def test_a_full_queue_is_451(place: Place, running: Running) -> None:
    async def run() -> None:
        place.is_queue_full = True
        client = place.connect()
        client.say(HELLO)
        assert codes(await client.say_and_wait(TO_USER + MESSAGE))[-1] == "451 4.3.0"
        assert place.store.added == []

    running(run())


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [("is_suspended", "421 4.3.0"), ("is_short_of_space", "452 4.3.1")],
)
def test_trouble_with_storage_is_said_at_mail(
    place: Place, running: Running, attribute: str, expected: str
) -> None:
    async def run() -> None:
        setattr(place.store, attribute, True)
        client = place.connect()
        client.say(HELLO)
        client.heard()
        assert codes(client.say("MAIL FROM:<a@pass.test>\r\nNOOP\r\n"))[0] == expected
        assert client.transport.is_closed is expected.startswith("421")

    running(run())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("nocolon\r\n\r\nx\r\n", "554 5.6.0", id="broken header"),
        pytest.param("Received: x\r\n" * 51 + "\r\nx\r\n", "554 5.4.6", id="loop"),
        pytest.param("A: " + "b" * 300_000 + "\r\n\r\nx\r\n", "552 5.3.4", id="header too large"),
    ],
)
def test_content_checks(place: Place, running: Running, message: str, expected: str) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO)
        output = await client.say_and_wait(TO_USER + f"DATA\r\n{message}.\r\n")
        assert codes(output)[-1] == expected
        assert place.store.added == []

    running(run())


def test_submission_needs_a_login(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect(Mode.SUBMISSION)
        client.say(HELLO)
        client.heard()
        assert codes(client.say("MAIL FROM:<user@d1.test>\r\n")) == ["550 5.7.9"]

    running(run())


def test_many_refused_recipients_are_answered_ever_later(place: Place, running: Running) -> None:
    async def run() -> None:
        client = place.connect()
        client.say(HELLO + "MAIL FROM:<>\r\n")
        client.heard()
        refusal = "RCPT TO:<nobody@d1.test>\r\n"
        assert codes(client.say(refusal * 10)) == ["550 5.1.1"] * 10
        assert client.say(refusal) == ""
        await asyncio.sleep(0.06)  # the delay itself is what is tested
        assert codes(client.heard()) == ["550 5.1.1"]

    running(run())


def test_a_client_that_is_gone_still_gets_its_message_stored_once(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        place.store.gate = asyncio.Event()
        client = place.connect()
        client.say(HELLO)
        await client.say_and_wait(TO_USER + MESSAGE)
        client.connection.connection_lost(None)
        place.store.gate.set()
        await settle()
        assert len(place.store.added) == 1
        assert client.heard() == ""

    running(run())
