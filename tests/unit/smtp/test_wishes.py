"""DELIVERBY, FUTURERELEASE and MT-PRIORITY in commands and in the EHLO reply."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.smtp.client_commands import mail_command
from relevo.smtp.client_events import Outgoing, OutgoingRecipient
from relevo.smtp.commands import parse_mail
from relevo.smtp.dates import date
from relevo.smtp.events import Event, Mail, MailParameters, Path
from relevo.smtp.extensions import capabilities
from relevo.smtp.replies import Fixed
from relevo.smtp.server import ServerSession
from relevo.smtp.wishes import (
    KEYWORDS,
    MAX_BY,
    DeliverBy,
    Wishes,
    WishOffers,
    least_by,
    parse_wishes,
)
from unit.smtp.driver import SETTINGS, accept

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
OFFERS = WishOffers(deliver_by_least=60, hold_most=86400, priority=True, clock=lambda: NOW)
MALFORMED, UNKNOWN = Fixed.PARAMETER_MALFORMED, Fixed.PARAMETER_UNKNOWN
LOGIN = base64.b64encode(b"\0user\0secret").decode()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"BY": "120;R"}, Wishes(DeliverBy(120, returns=True))),
        ({"BY": "+60;rt"}, Wishes(DeliverBy(60, returns=True, traces=True))),
        ({"BY": "-5;N"}, Wishes(DeliverBy(-5, returns=False))),
        ({"BY": "0;NT"}, Wishes(DeliverBy(0, returns=False, traces=True))),
        ({"BY": "0;R"}, MALFORMED),
        ({"BY": "-1;R"}, MALFORMED),
        ({"BY": "59;R"}, Fixed.DELIVER_BY_TOO_SHORT),
        ({"BY": "5;N"}, Wishes(DeliverBy(5, returns=False))),
        ({"BY": "1000000000;N"}, MALFORMED),
        ({"BY": "120"}, MALFORMED),
        ({"BY": "120;X"}, MALFORMED),
        ({"BY": "120;RTT"}, MALFORMED),
        ({"BY": ""}, MALFORMED),
        ({"BY": None}, MALFORMED),
        ({"HOLDFOR": "3600"}, Wishes(hold_for=3600)),
        ({"HOLDFOR": "86401"}, Fixed.RELEASE_TOO_FAR),
        ({"HOLDFOR": "-1"}, MALFORMED),
        ({"HOLDFOR": None}, MALFORMED),
        ({"HOLDUNTIL": "2026-09-21T15:13:20Z"}, Wishes(hold_until=NOW + 3600)),
        ({"HOLDUNTIL": "2026-09-21t17:13:20.5+02:00"}, Wishes(hold_until=NOW + 3600)),
        ({"HOLDUNTIL": "2026-09-22T14:13:20Z"}, Wishes(hold_until=NOW + 86400)),
        ({"HOLDUNTIL": "2026-09-22T14:13:21Z"}, Fixed.RELEASE_TOO_FAR),
        ({"HOLDUNTIL": "2026-09-21T14:13:19Z"}, Fixed.RELEASE_IN_THE_PAST),
        ({"HOLDUNTIL": "2026-02-30T00:00:00Z"}, MALFORMED),
        ({"HOLDUNTIL": "2026-09-21T15:13:20"}, MALFORMED),
        ({"HOLDUNTIL": "tomorrow"}, MALFORMED),
        ({"HOLDFOR": "1", "HOLDUNTIL": "2026-09-21T15:13:20Z"}, MALFORMED),
        ({"HOLDFOR": "600", "BY": "600;R"}, Fixed.DELIVER_BY_BEFORE_RELEASE),
        ({"HOLDUNTIL": date(NOW + 600), "BY": "500;R"}, Fixed.DELIVER_BY_BEFORE_RELEASE),
        ({"HOLDFOR": "600", "BY": "5;N"}, Wishes(DeliverBy(5, returns=False), hold_for=600)),
        ({"MT-PRIORITY": "-9"}, Wishes(priority=-9)),
        ({"MT-PRIORITY": "0"}, Wishes(priority=0)),
        ({"MT-PRIORITY": "10"}, MALFORMED),
        ({"MT-PRIORITY": "-0"}, MALFORMED),
        ({"MT-PRIORITY": "+3"}, MALFORMED),
        ({"MT-PRIORITY": None}, MALFORMED),
    ],
)
def test_values(words: dict[str, str | None], expected: Wishes | Fixed) -> None:
    assert parse_wishes(words, OFFERS) == expected


@pytest.mark.parametrize("words", [{"BY": "9;N"}, {"HOLDFOR": "1"}, {"MT-PRIORITY": "1"}])
def test_what_is_not_offered_is_unknown(words: dict[str, str | None]) -> None:
    assert parse_wishes(words, WishOffers(clock=lambda: NOW)) is UNKNOWN


@given(st.dictionaries(st.sampled_from(sorted(KEYWORDS)), st.none() | st.text(max_size=40)))
def test_any_text_is_a_wish_or_a_refusal(words: dict[str, str | None]) -> None:
    found = parse_wishes(words, OFFERS)
    assert isinstance(found, Wishes | Fixed)
    if isinstance(found, Wishes):
        held = found.hold_for if found.hold_until is None else found.hold_until - NOW
        assert held is None or 0 <= held <= 86400
        assert found.priority is None or -9 <= found.priority <= 9


@given(st.integers(-MAX_BY, MAX_BY), st.booleans(), st.booleans(), st.none() | st.integers(-9, 9))
def test_what_a_client_writes_a_server_reads(
    seconds: int, returns: bool, traces: bool, priority: int | None
) -> None:
    wishes = Wishes(
        DeliverBy(abs(seconds) + 60 if returns else seconds, returns, traces), priority=priority
    )
    assert wishes.deliver_by is not None
    if wishes.deliver_by.seconds > MAX_BY:
        return
    outgoing = Outgoing(
        Path("a", "b.test"),
        (OutgoingRecipient(Path("c", "d.test")),),
        (),
        MailParameters(wishes=wishes),
    )
    line = mail_command(outgoing, {"DELIVERBY": "", "MT-PRIORITY": ""})
    event = parse_mail(line[5:].strip(), replace(SETTINGS, wishes=OFFERS))
    assert isinstance(event, Mail)
    assert event.parameters.wishes == wishes
    assert mail_command(outgoing, {}) == b"MAIL FROM:<a@b.test>\r\n"


@pytest.mark.parametrize(
    ("offered", "expected"),
    [("", 0), ("120", 120), ("120,more", 120), ("x", 0), ("9" * 30, 999999999)],
)
def test_the_least_time_that_a_server_takes(offered: str, expected: int) -> None:
    assert least_by(offered) == expected


def offered(**words: bool) -> list[str]:
    requires_auth = words.pop("requires_auth", False)
    settings = replace(SETTINGS, wishes=OFFERS, requires_auth=requires_auth)
    lines = capabilities(settings, is_tls=words.pop("is_tls", True), **words)
    return [
        line for line in lines if line.split()[0] in {"DELIVERBY", "FUTURERELEASE", "MT-PRIORITY"}
    ]


def test_ehlo_tells_users_of_all_and_relaying_clients_of_what_they_may() -> None:
    everything = ["DELIVERBY 60", f"FUTURERELEASE 86400 {date(NOW + 86400)}", "MT-PRIORITY"]
    assert offered() == []
    assert offered(is_authenticated=True) == everything
    assert offered(is_trusted=True) == ["DELIVERBY 60", "MT-PRIORITY"]
    assert offered(requires_auth=True) == everything
    assert offered(requires_auth=True, is_tls=False) == []


def replies(lines: bytes, *, trusts: bool = False, logs_in: bool = False) -> list[str]:
    """What is said to `lines`, after EHLO and, if wanted, AUTH."""
    session = ServerSession(replace(SETTINGS, wishes=OFFERS), is_tls=True)
    if trusts:
        session.trust()
    session.greet()
    opening = b"EHLO cli\r\n" + (f"AUTH PLAIN {LOGIN}\r\n".encode() if logs_in else b"")
    events: list[Event] = []
    for octets in (opening, lines):
        session.take_output()
        session.receive(octets)
        while (event := session.next_event()) is not None:
            events.append(event)
            accept(session, event)
    return session.take_output().decode().splitlines()


def test_strangers_have_no_wishes() -> None:
    assert replies(b"MAIL FROM:<a@b.test> BY=120;R\r\n") == [f"555 5.5.4 {UNKNOWN.value.text}"]


def test_relaying_clients_have_some() -> None:
    assert replies(b"MAIL FROM:<a@b.test> BY=120;R MT-PRIORITY=-3\r\n", trusts=True) == [
        "250 2.1.0 ok"
    ]
    assert replies(b"MAIL FROM:<a@b.test> HOLDFOR=5\r\n", trusts=True)[0].startswith("555 ")


def test_only_users_raise_a_priority() -> None:
    line = b"MAIL FROM:<a@b.test> MT-PRIORITY=4\r\n"
    assert replies(line, trusts=True) == ["250 2.3.6 0 is the priority of the message"]
    assert replies(line, logs_in=True) == ["250 2.1.0 ok"]


def test_users_may_hold() -> None:
    assert replies(b"MAIL FROM:<a@b.test> HOLDFOR=5\r\n", logs_in=True) == ["250 2.1.0 ok"]
