"""Lines of the mail log: chasquid's to the letter, JSON, and for people."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.journal.events import (
    Accepted,
    Attempted,
    Authenticated,
    Done,
    DsnSent,
    Event,
    HookVerdict,
    Listening,
    OperatorAction,
    Outcome,
    Quarantined,
    Rejected,
    Released,
    Waiting,
)
from relevo.journal.maillog import chasquid_line, json_line, plain_line

TIME = 1795505971.25
CLIENT = "127.0.0.1:4711"


def attempted(outcome: Outcome, detail: str = "", target: str = "user@d1.test") -> Attempted:
    return Attempted(TIME, "id1", "a@b", target, "ali@d1.test", outcome, "mda", detail)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        pytest.param(
            Listening(TIME, "127.0.0.1:25", "SMTP"), "daemon listening on 127.0.0.1:25", id="listen"
        ),
        pytest.param(
            Authenticated(TIME, "[::1]:4711", "user@d1.test", True),
            "[::1]:4711 auth succeeded for user@d1.test",
            id="login",
            marks=pytest.mark.case("C17"),
        ),
        pytest.param(
            Authenticated(TIME, CLIENT, "user@d1.test", False),
            "127.0.0.1:4711 auth failed for user@d1.test",
            id="failed login",
            marks=pytest.mark.case("C17"),
        ),
        pytest.param(
            Rejected(TIME, CLIENT, "a@b", ("c@d", "e@f"), 554, "5.7.1", "spam"),
            "127.0.0.1:4711 rejected from=a@b to=[c@d e@f] - spam",
            id="refusal",
        ),
        pytest.param(
            Rejected(TIME, CLIENT, "<>", (), 550, "5.7.23", "failed SPF: matched all"),
            "127.0.0.1:4711 rejected from=<> - failed SPF: matched all",
            id="refusal of the null reverse-path",
        ),
        pytest.param(
            Rejected(TIME, CLIENT, None, (), 500, "5.5.1", "unknown command"),
            "127.0.0.1:4711 rejected - unknown command",
            id="refusal before MAIL",
        ),
        pytest.param(
            Accepted(TIME, "id1", CLIENT, "a@b", ("c@d", "e@f"), 99),
            "id1 from=a@b queued ip=127.0.0.1:4711 to=[c@d e@f]",
            id="accepted",
        ),
        pytest.param(Accepted(TIME, "id1", "", "<>", ("c@d",), 99), None, id="our DSN"),
        pytest.param(
            attempted(Outcome.DELIVERED, "ignored"), "id1 from=a@b to=user@d1.test sent", id="sent"
        ),
        pytest.param(
            attempted(Outcome.TEMPORARY, "exit 75", "/bin/cmd a b"),
            "id1 from=a@b to=/bin/cmd a b failed (temporary): exit 75",
            id="deferred pipe",
        ),
        pytest.param(
            attempted(Outcome.PERMANENT, "550 no"),
            "id1 from=a@b to=user@d1.test failed (permanent): 550 no",
            id="failed",
        ),
        pytest.param(
            Waiting(TIME, "id1", "<>", 84.594448428),
            "id1 from=<> completed loop, next in 1m24.594448428s",
            id="waiting",
        ),
        pytest.param(Done(TIME, "id1", "a@b"), "id1 from=a@b all done", id="done"),
        pytest.param(DsnSent(TIME, "id1", "id2", "a@b"), None, id="DSN"),
        pytest.param(OperatorAction(TIME, "id1", "drop"), None, id="operator"),
    ],
)
def test_chasquid_lines(event: Event, line: str | None) -> None:
    assert chasquid_line(event) == line


def test_values_cannot_make_lines_or_fields_of_their_own() -> None:
    event = Rejected(TIME, CLIENT, "a to=[x]@b", ("c\n2@d",), 554, "", "one\r\ntwo\x1b[2J")
    assert chasquid_line(event) == (
        r"127.0.0.1:4711 rejected from=a\x20to=[x]@b to=[c\n2@d] - one\r\ntwo\x1b[2J"
    )


TEXT = st.text(max_size=20)
TIMES = st.floats(0, 4e9)
EVENTS = st.one_of(
    st.builds(Listening, TIMES, TEXT, TEXT),
    st.builds(Authenticated, TIMES, TEXT, TEXT, st.booleans()),
    st.builds(
        Rejected,
        TIMES,
        TEXT,
        st.none() | TEXT,
        st.lists(TEXT).map(tuple),
        st.integers(),
        TEXT,
        TEXT,
    ),
    st.builds(Accepted, TIMES, TEXT, TEXT, TEXT, st.lists(TEXT).map(tuple), st.integers(0, 2**50)),
    st.builds(Attempted, TIMES, TEXT, TEXT, TEXT, TEXT, st.sampled_from(Outcome), TEXT, TEXT),
    st.builds(Waiting, TIMES, TEXT, TEXT, st.floats(0, 1e6)),
    st.builds(Done, TIMES, TEXT, TEXT),
    st.builds(DsnSent, TIMES, TEXT, TEXT, TEXT),
    st.builds(OperatorAction, TIMES, TEXT, TEXT),
)


@given(EVENTS)
def test_an_event_is_one_printable_line(event: Event) -> None:
    for line in (chasquid_line(event), plain_line(event)):
        assert line is None or line.isprintable()
    assert "\n" not in json_line(event)


@given(EVENTS)
def test_json_has_every_field(event: Event) -> None:
    values = json.loads(json_line(event))
    names = {field.name for field in fields(event)}
    assert values.keys() == names | {"kind"}


def test_json_of_an_attempt() -> None:
    assert json.loads(json_line(attempted(Outcome.TEMPORARY, "exit\n75"))) == {
        "kind": "attempted",
        "time": "2026-11-24T07:39:31.250000+00:00",
        "message_id": "id1",
        "reverse_path": "a@b",
        "target": "user@d1.test",
        "original": "ali@d1.test",
        "outcome": "temporary",
        "route": "mda",
        "detail": "exit\n75",
        "seconds": 0.0,
        "peer": "",
        "tls": "",
    }


def test_json_of_octets_that_are_no_utf8() -> None:
    event = Rejected(TIME, CLIENT, None, ("a\udcff@b",), 550, "", "x\udcff")
    values = json.loads(json_line(event))
    assert values["reason"] == r"x\udcff"
    assert values["forward_paths"] == [r"a\udcff@b"]


def test_kinds_are_the_names_of_the_events() -> None:
    kinds = {
        json.loads(json_line(event))["kind"]
        for event in (
            Listening(TIME, "", ""),
            Authenticated(TIME, "", "", True),
            Rejected(TIME, "", None, (), 0, "", ""),
            Accepted(TIME, "", "", "", (), 0),
            attempted(Outcome.DELIVERED),
            Waiting(TIME, "", "", 0),
            Done(TIME, "", ""),
            DsnSent(TIME, "", "", ""),
            HookVerdict(TIME, "", "", "", "", ""),
            Quarantined(TIME, "", "", "", ""),
            Released(TIME, "", ()),
            OperatorAction(TIME, "", ""),
        )
    }
    assert len(kinds) == len(get_args(Event))
    assert {"dsn_sent", "operator_action", "accepted"} <= kinds


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            Quarantined(TIME, "id1", "post-data", "spam", "odd"),
            "QUARANTINED id1, by spam at post-data: odd",
        ),
        (Released(TIME, "id1", ("c@d",)), "RELEASED id1 → c@d"),
        (Released(TIME, "id1", ()), "RELEASED id1 → nothing is left of it"),
        (Accepted(TIME, "id1", CLIENT, "a@b", ("c@d", "e@f"), 9), "ACCEPTED a@b → c@d, e@f"),
        (
            Rejected(TIME, CLIENT, "a@b", ("c@d",), 550, "5.1.1", "no"),
            "REJECTED a@b → c@d 550 5.1.1 no",
        ),
        (Rejected(TIME, CLIENT, None, (), 500, "5.5.1", "no"), "REJECTED 500 5.5.1 no"),
        (attempted(Outcome.DELIVERED), "DELIVERED a@b → user@d1.test by mda"),
        (attempted(Outcome.TEMPORARY, "busy"), "DEFERRED a@b → user@d1.test by mda busy"),
        (attempted(Outcome.PERMANENT, "no"), "FAILED a@b → user@d1.test by mda no"),
        (Waiting(TIME, "id1", "a@b", 84.6), "WAITING id1, next try in 1m25s"),
        (Done(TIME, "id1", "a@b"), "DONE id1"),
        (DsnSent(TIME, "id1", "id2", "a@b"), "DSN id2 tells a@b about id1"),
        (Authenticated(TIME, CLIENT, "u@d", True), "LOGIN u@d"),
        (Authenticated(TIME, CLIENT, "u@d", False), "NO LOGIN u@d"),
        (Listening(TIME, "127.0.0.1:25", "SMTP"), "LISTENING 127.0.0.1:25 (SMTP)"),
        (OperatorAction(TIME, "id1", "drop"), "OPERATOR drop id1"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_plain_lines_say_who_and_why(event: Event, words: str) -> None:
    shown = " ".join(plain_line(event).split()[1:])
    assert shown.startswith(words)
    assert "\x1b" not in plain_line(event)


def test_colours_are_for_terminals() -> None:
    assert "\x1b[32mDELIVERED" in plain_line(attempted(Outcome.DELIVERED), colours=True)
    assert "\x1b[31mFAILED" in plain_line(attempted(Outcome.PERMANENT), colours=True)


def test_a_remote_attempt_shows_how_the_connection_was_protected_and_how_long_it_took() -> None:
    event = Attempted(
        TIME, "id1", "a@b", "x@r.test", "x@r.test", Outcome.DELIVERED, "mx:r.test", "250 ok",
        0.123, "mx.r.test (192.0.2.1:25)", "TLS-1.3 AES webpki",
    )  # fmt: skip
    assert "250 ok  [TLS-1.3 AES webpki, 0.12 s]" in plain_line(event)
    assert "[in clear, 0.12 s]" in plain_line(replace(event, tls=""))
