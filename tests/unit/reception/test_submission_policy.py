"""What a client that has logged in may send."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relevo.config import load
from relevo.config.submission_model import Submission
from relevo.directory import DirectoryWatcher
from relevo.queue.schedule import HELD_UNTIL
from relevo.reception.sending_rates import SendingRates, SendingTable
from relevo.reception.submission_policy import SubmissionPolicy
from unit.reception.conftest import Client, Place, Running
from unit.reception.test_login import connected, log_in

SENDER = "MAIL FROM:<{}>\r\n"
RECIPIENT = "RCPT TO:<x@r.test>\r\n"


async def user(place: Place, **settings: object) -> Client:
    """A client that has logged in as user@d1.test, under these rules."""
    rules = replace(Submission(), **settings)  # type: ignore[arg-type]  # keys by name
    watcher = DirectoryWatcher(place.config)
    client = connected(place)
    client.services.submission = SubmissionPolicy.of(
        rules, SendingRates(SendingTable(1), 0, clock=lambda: 100.0), lambda: watcher.current
    )
    await log_in(client, "secret")
    return client


async def sent(client: Client, message: str, sender: str = "user@d1.test") -> str:
    """The reply behind a whole message, or to MAIL if that is refused."""
    reply = await client.say_and_wait(SENDER.format(sender))
    if not reply.startswith("250"):
        return reply
    await client.say_and_wait(RECIPIENT)
    await client.say_and_wait("DATA\r\n")
    return await client.say_and_wait(f"{message}\r\n\r\nx\r\n.\r\n")


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("user@d1.test", "250"),
        ("us.er+x@d1.test", "250"),
        ("al@d1.test", "250"),
        ("", "250"),
        ("loop@d1.test", "550"),
        ("other@d1.test", "550"),
        ("user@r.test", "550"),
    ],
)
def test_mail_from_must_be_an_own_address(
    place: Place, running: Running, sender: str, code: str
) -> None:
    async def run() -> None:
        client = await user(place)
        assert (await client.say_and_wait(SENDER.format(sender))).startswith(code)

    running(run())


def test_the_refusal_names_the_address_and_the_user(place: Place, running: Running) -> None:
    async def run() -> None:
        client = await user(place)
        assert await client.say_and_wait(SENDER.format("boss@d1.test")) == (
            "550 5.7.1 Sender not allowed: boss@d1.test (MAIL FROM) is no address of user@d1.test"
            "\r\n"
        )

    running(run())


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("From: User <us.er@d1.test>", "250"),
        ("Subject: no author", "250"),
        ("From: al@d1.test, user@d1.test", "250"),
        ("From: al@d1.test, boss@d1.test", "550"),
        ("From: boss@d1.test", "550"),
        ("From: user@d1.test\r\nFrom: boss@d1.test", "550"),
        ("From: <user@d1.test> boss@d1.test", "550"),
    ],
)
def test_every_author_must_be_an_own_address(
    place: Place, running: Running, header: str, code: str
) -> None:
    async def run() -> None:
        client = await user(place)
        assert (await sent(client, header)).startswith(code)
        assert len(client.store.added) == (code == "250")
        assert (await sent(client, header, sender="")).startswith(code)

    running(run())


def test_warn_and_off_refuse_nobody(place: Place, running: Running) -> None:
    async def run() -> None:
        for mode in ("warn", "off"):
            client = await user(place, sender_check=mode)
            assert (await sent(client, "From: x@y.test", "boss@d1.test")).startswith("250")

    running(run())


@pytest.mark.parametrize(
    ("allowed", "code"),
    [("boss@d1.test", "250"), ("@d1.test", "250"), ("*", "250"), ("@other.test", "550")],
)
def test_more_senders_may_be_allowed(
    place: Place, running: Running, allowed: str, code: str
) -> None:
    async def run() -> None:
        client = await user(place, allow_senders=(f"user@d1.test: {allowed} x@y.test",))
        assert (await sent(client, "From: x@y.test", "BOSS@d1.test")).startswith(code)

    running(run())


def test_who_has_not_logged_in_is_not_asked(place: Place, running: Running) -> None:
    async def run() -> None:
        client = await user(place)
        stranger = place.connect(services=client.services)
        stranger.say("EHLO cli\r\n")
        assert (await stranger.say_and_wait(SENDER.format("boss@d1.test"))).startswith("250")

    running(run())


def test_messages_above_the_rate_are_put_off_with_a_time(place: Place, running: Running) -> None:
    async def run() -> None:
        client = await user(place, messages_per_hour=2)
        assert (await sent(client, "Subject: x")).startswith("250")
        assert (await sent(client, "Subject: x")).startswith("250")
        reply = await client.say_and_wait(SENDER.format("user@d1.test"))
        assert reply.startswith("450 4.7.1 Too many messages within an hour, try again in ")
        assert reply.endswith(" minutes\r\n")

    running(run())


def test_what_was_not_accepted_is_not_counted(place: Place, running: Running) -> None:
    async def run() -> None:
        client = await user(place, messages_per_hour=1)
        for _ in range(3):
            assert (await client.say_and_wait(SENDER.format("user@d1.test"))).startswith("250")
            client.say("RSET\r\n")
        assert (await sent(client, "Subject: x")).startswith("250")

    running(run())


def test_recipients_above_the_rate_are_put_off(place: Place, running: Running) -> None:
    async def run() -> None:
        client = await user(place, recipients_per_hour=2)
        await client.say_and_wait(SENDER.format("user@d1.test"))
        assert (await client.say_and_wait(RECIPIENT)).startswith("250")
        assert (await client.say_and_wait(RECIPIENT)).startswith("250")
        assert (await client.say_and_wait(RECIPIENT)).startswith("450 4.7.1 Too many recipients")

    running(run())


def test_who_wants_too_much_too_often_has_its_mail_held(place: Place, running: Running) -> None:
    async def run() -> None:
        client = await user(place, recipients_per_hour=2, hold_after=2)
        await client.say_and_wait(SENDER.format("user@d1.test"))
        for _ in range(4):
            await client.say_and_wait(RECIPIENT)
        client.say("DATA\r\n")
        await client.say_and_wait("Subject: x\r\n\r\nx\r\n.\r\n")
        [message] = client.store.added
        [unit] = message.units
        assert unit.due == HELD_UNTIL
        assert "held" in unit.recipients[0].detail

    running(run())


def test_without_rules_nothing_is_asked(place: Place) -> None:
    rules = Submission(sender_check="off")
    rates = SendingRates(SendingTable(1), 0)
    watcher = DirectoryWatcher(place.config)
    assert SubmissionPolicy.of(rules, rates, lambda: watcher.current) is None


def test_new_installations_enforce(place: Place) -> None:
    assert load(place.config.config_dir).submission.sender_check == "enforce"
