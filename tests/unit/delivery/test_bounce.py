"""Who is told, by what message, and who never is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from email import message_from_bytes
from email.message import Message

import pytest

from relevo.delivery.attempt import DELIVERED, Result, permanent, temporary
from relevo.delivery.bounce import Notification, NotificationPostponed, Surroundings, notify
from relevo.delivery.notice_limits import NoticeLimits
from relevo.delivery.settlement import settle
from relevo.directory import ExpansionFailed, MailTarget, PipeTarget, Target
from relevo.journal import Accepted, DsnSent
from relevo.mail import Address
from relevo.queue.store import MemoryContent, Unit
from unit.delivery.samples import NOW, attempt_of, mail, make_unit, pipe, surroundings

REFUSED = permanent("5.1.1", "no such user")
BUSY = temporary("4.2.0", "busy")
FROM_US = "ann@d1.test"


def decide(
    unit: Unit,
    *results: Result,
    around: Surroundings | None = None,
    is_too_old: bool = False,
    is_late: bool = False,
    may_postpone: bool = True,
) -> Notification | None:
    settlement = settle(
        attempt_of(unit),
        results,
        label="x",
        now=NOW,
        seconds=0,
        is_too_old=is_too_old,
        is_late=is_late,
    )
    return asyncio.run(
        notify(unit, settlement.tried, around or surroundings(), now=NOW, may_postpone=may_postpone)
    )


def sent(notification: Notification | None) -> Notification:
    assert notification is not None
    return notification


def parsed(notification: Notification) -> Message:
    content = notification.dsn.content
    assert isinstance(content, MemoryContent)
    return message_from_bytes(content.data)


def report(notification: Notification) -> str:
    """The part for programs."""
    content = notification.dsn.content
    assert isinstance(content, MemoryContent)
    return content.data.decode().split("delivery-status")[2]


@pytest.mark.case("Q10")
def test_failure_is_told_to_the_sender() -> None:
    notification = sent(decide(make_unit(), REFUSED))
    dsn = notification.dsn
    assert dsn.envelope.reverse_path == ""
    assert dsn.envelope.is_dsn
    assert [unit.route for unit in dsn.units] == ["mx:b.test"]
    assert dsn.units[0].recipients[0].target == "a@b.test"
    assert dsn.units[0].due == NOW
    message = parsed(notification)
    assert "<postmaster-dsn@d1.test>" in message["From"]
    assert message["To"] == "<a@b.test>"
    assert message["X-Failed-Recipients"] == "ann@d1.test"
    assert "Status: 5.1.1" in report(notification)
    assert "Action: failed" in report(notification)
    assert len(message.get_payload()) == 3


def test_events_of_a_dsn() -> None:
    notification = sent(decide(make_unit(), REFUSED))
    assert notification.event == DsnSent(NOW, "m1", "dsn1", "a@b.test")
    (accepted,) = notification.dsn.events
    assert isinstance(accepted, Accepted)
    assert (accepted.client, accepted.reverse_path) == ("", "<>")
    assert accepted.forward_paths == ("a@b.test",)


@pytest.mark.case("Q11")
def test_null_reverse_path_is_never_told() -> None:
    assert decide(make_unit(reverse_path=""), REFUSED) is None


@pytest.mark.case("Q12")
def test_given_up_message_is_told_with_status_4_0_0() -> None:
    notification = sent(decide(make_unit(), BUSY, is_too_old=True))
    assert "Status: 4.0.0" in report(notification)
    assert "Action: failed" in report(notification)


@pytest.mark.parametrize(
    ("notified", "result", "is_told"),
    [
        ((), REFUSED, True),
        (("FAILURE",), REFUSED, True),
        (("FAILURE", "SUCCESS"), REFUSED, True),
        (("SUCCESS",), REFUSED, False),
        (("DELAY",), REFUSED, False),
        (("NEVER",), REFUSED, False),
        ((), DELIVERED, False),
        (("SUCCESS",), DELIVERED, True),
        (("FAILURE",), DELIVERED, False),
        (("NEVER",), DELIVERED, False),
        (("SUCCESS",), BUSY, False),
        ((), BUSY, False),
    ],
)
def test_notify_parameter(notified: tuple[str, ...], result: Result, is_told: bool) -> None:
    unit = make_unit(mail(notify=notified))
    assert (decide(unit, result) is not None) is is_told


@pytest.mark.parametrize(
    ("notified", "is_told"),
    [
        ((), True),
        (("DELAY",), True),
        (("DELAY", "FAILURE"), True),
        (("FAILURE",), False),
        (("SUCCESS",), False),
        (("NEVER",), False),
    ],
)
def test_delay_is_told_unless_notify_excludes_it(notified: tuple[str, ...], is_told: bool) -> None:
    unit = make_unit(mail(notify=notified))
    around = replace(surroundings(), gives_up=lambda created: created + 3600)
    notification = decide(unit, BUSY, is_late=True, around=around)
    assert (notification is not None) is is_told
    if notification is not None:
        assert "Action: delayed" in report(notification)
        assert "Will-Retry-Until: " in report(notification)


def test_delay_is_told_once_a_recipient() -> None:
    told = replace(mail("x@d1.test"), is_delay_told=True)
    notification = sent(decide(make_unit(told, mail("y@d1.test")), BUSY, BUSY, is_late=True))
    assert "x@d1.test" not in report(notification)
    assert decide(make_unit(told), BUSY, is_late=True) is None


def test_nobody_is_told_that_a_dsn_is_late() -> None:
    assert decide(make_unit(reverse_path="", is_dsn=True), BUSY, is_late=True) is None


@pytest.mark.parametrize(
    ("route", "is_passed_on", "action"),
    [
        ("local", False, "delivered"),
        ("pipe", False, "delivered"),
        ("lmtp:store", False, "delivered"),
        ("mx:r.test", False, "relayed"),
        ("smarthost:out", False, "relayed"),
        ("mx:r.test", True, ""),
    ],
)
def test_success_is_told_by_who_is_last_to_know(
    route: str, is_passed_on: bool, action: str
) -> None:
    unit = make_unit(mail("x@r.test", notify=("SUCCESS",)), route=route)
    result = replace(DELIVERED, is_passed_on=is_passed_on)
    notification = decide(unit, result)
    assert (notification is not None) is bool(action)
    if notification is not None:
        assert f"Action: {action}\r\n" in report(notification)


def test_what_another_server_said_is_told_with_its_name() -> None:
    unit = make_unit(mail("x@r.test"), route="mx:r.test")
    peer = "mx1.r.test (192.0.2.1:25)"
    refused = replace(permanent("5.1.1", f"{peer} said: 550 5.1.1 no such user"), peer=peer)
    text = report(sent(decide(unit, refused)))
    assert "Remote-MTA: dns; mx1.r.test\r\n" in text
    assert "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n" in text
    broken = temporary("4.4.1", "no server of r.test can be used")
    text = report(sent(decide(unit, broken, is_late=True)))
    assert "Remote-MTA" not in text
    assert "Diagnostic-Code: x-relevo; no server of r.test can be used\r\n" in text


def test_an_ascii_sender_is_never_sent_what_needs_smtputf8() -> None:
    unit = make_unit(mail("ñ@d1.test", original="n@d1.test"))
    notification = sent(decide(unit, REFUSED))
    assert not notification.dsn.envelope.smtputf8
    assert "Final-Recipient: utf-8; \\x{F1}@d1.test\r\n" in report(notification)
    asked = replace(unit, envelope=replace(unit.envelope, smtputf8=True))
    assert sent(decide(asked, REFUSED)).dsn.envelope.smtputf8


def test_dsns_to_one_address_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    around = replace(surroundings(), limits=NoticeLimits(2))
    told = [decide(make_unit(), REFUSED, around=around) for _ in range(4)]
    assert [one is not None for one in told] == [True, True, False, False]
    assert decide(make_unit(reverse_path="c@b.test"), REFUSED, around=around) is not None
    assert [record.message for record in caplog.records if record.name != "asyncio"] == [
        "more DSNs to a@b.test within a minute than queue.notices_per_minute allows are left out"
    ]


def test_one_dsn_for_all_failures_of_an_attempt() -> None:
    unit = make_unit(mail("x@d1.test"), mail("y@d1.test"), mail("z@d1.test"))
    notification = sent(decide(unit, REFUSED, DELIVERED, REFUSED))
    assert report(notification).count("Final-Recipient") == 2
    assert "y@d1.test" not in report(notification)


def test_success_is_reported_with_the_header_only() -> None:
    unit = make_unit(mail(notify=("SUCCESS",)), ret="FULL")
    notification = sent(decide(unit, DELIVERED))
    assert "Action: delivered" in report(notification)
    assert b"Hello" not in notification.dsn.content.first(100_000)
    assert b"Subject: x" in notification.dsn.content.first(100_000)


@pytest.mark.parametrize(("ret", "has_body"), [("", True), ("FULL", True), ("HDRS", False)])
def test_ret_decides_what_is_attached(ret: str, has_body: bool) -> None:
    notification = sent(decide(make_unit(ret=ret), REFUSED))
    assert (b"Hello" in notification.dsn.content.first(100_000)) is has_body


@pytest.mark.case("Q10")
def test_attached_original_is_cut() -> None:
    content = MemoryContent(b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * 40_000)
    notification = sent(decide(make_unit(content=content), REFUSED))
    assert 256 * 1024 < notification.dsn.content.size < 260 * 1024


def test_envid_is_returned() -> None:
    assert "Original-Envelope-Id: QQ314" in report(sent(decide(make_unit(envid="QQ314"), REFUSED)))


def test_command_is_not_revealed() -> None:
    unit = make_unit(pipe("/opt/secret --key k"), route="pipe")
    notification = sent(decide(unit, permanent("5.3.0", "exit status 1")))
    content = notification.dsn.content
    assert isinstance(content, MemoryContent)
    assert b"secret" not in content.data
    assert "ali@d1.test" in report(notification)
    assert "Diagnostic-Code: x-unix; exit status 1" in report(notification)


@pytest.mark.parametrize(("is_smtp", "kind"), [(True, "smtp"), (False, "x-unix")])
def test_what_a_mailbox_server_said_is_an_smtp_reply(is_smtp: bool, kind: str) -> None:
    around = replace(surroundings(), is_local_smtp=is_smtp)
    refused = permanent("5.2.2", "552 5.2.2 over quota")
    notification = sent(decide(make_unit(), refused, around=around))
    assert f"Diagnostic-Code: {kind}; 552 5.2.2 over quota" in report(notification)


@pytest.mark.parametrize(
    ("reverse_path", "original", "domain"),
    [
        ("ann@d2.test", "x@d1.test", "d2.test"),
        ("a@b.test", "x@d1.test", "d1.test"),
        ("a@b.test", "x@r.test", "unknown"),
    ],
)
def test_domain_of_a_dsn(reverse_path: str, original: str, domain: str) -> None:
    unit = make_unit(mail("x@r.test", original), reverse_path=reverse_path)
    assert f"<postmaster-dsn@{domain}>" in parsed(sent(decide(unit, REFUSED)))["From"]


def test_local_sender_is_expanded() -> None:
    async def expand(address: Address) -> tuple[Target, ...]:
        assert address == Address("ann", "d1.test")
        return (MailTarget(Address("bob", "d1.test")), PipeTarget(("log",)))

    notification = sent(
        decide(make_unit(reverse_path=FROM_US), REFUSED, around=surroundings(expand=expand))
    )
    assert [unit.route for unit in notification.dsn.units] == ["local", "pipe"]
    assert notification.dsn.units[0].recipients[0].original == FROM_US


async def fail_to_expand(address: Address) -> tuple[Target, ...]:
    raise ExpansionFailed("hook broken")


def test_failure_is_postponed_while_the_senders_aliases_fail() -> None:
    unit = make_unit(reverse_path=FROM_US)
    with pytest.raises(NotificationPostponed, match="hook broken"):
        decide(unit, REFUSED, around=surroundings(expand=fail_to_expand))


@pytest.mark.parametrize(
    ("unit", "result", "may_postpone"),
    [
        pytest.param(make_unit(reverse_path=FROM_US), REFUSED, False, id="message-too-old"),
        pytest.param(
            make_unit(mail(notify=("SUCCESS",)), reverse_path=FROM_US),
            DELIVERED,
            True,
            id="success-cannot-wait",
        ),
    ],
)
def test_dsn_that_cannot_wait_goes_to_the_sender_itself(
    unit: Unit, result: Result, may_postpone: bool
) -> None:
    notification = sent(
        decide(
            unit,
            result,
            around=surroundings(expand=fail_to_expand),
            may_postpone=may_postpone,
        )
    )
    assert [recipient.target for recipient in notification.dsn.units[0].recipients] == [FROM_US]


def test_foreign_sender_is_not_expanded() -> None:
    assert decide(make_unit(), REFUSED, around=surroundings(expand=fail_to_expand)) is not None


def test_failed_dsn_goes_to_the_postmaster_once() -> None:
    first = sent(decide(make_unit(mail("a@b.test"), reverse_path="", is_dsn=True), REFUSED))
    assert first.event.recipient == "postmaster@d1.test"
    again = make_unit(
        *first.dsn.units[0].recipients, reverse_path="", is_dsn=first.dsn.envelope.is_dsn
    )
    assert decide(again, REFUSED) is None


def test_failed_dsn_is_dropped_without_a_postmaster() -> None:
    unit = make_unit(mail("a@b.test"), reverse_path="", is_dsn=True)
    assert decide(unit, REFUSED, around=surroundings(postmaster="")) is None


def test_failed_dsn_to_the_postmaster_behind_an_alias_is_dropped_too() -> None:
    unit = make_unit(mail("root@r.test", "postmaster@d1.test"), reverse_path="", is_dsn=True)
    assert decide(unit, REFUSED) is None


def test_broken_reverse_path_is_not_told() -> None:
    assert decide(make_unit(reverse_path="a@b..c"), REFUSED) is None


def test_unicode_addresses_need_smtputf8() -> None:
    notification = sent(decide(make_unit(reverse_path="ñ@b.test"), REFUSED))
    assert notification.dsn.envelope.smtputf8
