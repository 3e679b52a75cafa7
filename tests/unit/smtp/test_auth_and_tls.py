"""STARTTLS and AUTH in the dialog."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relevo.smtp.events import (
    Auth,
    AuthResponse,
    Hello,
    Violation,
)
from relevo.smtp.server import Deadline, ServerSession, SessionSettings
from relevo.smtp.states import State
from unit.smtp.driver import SETTINGS, TO_RCPT, Driver, refusing


@pytest.mark.case("S45")
def test_tls_forgets_the_hello() -> None:
    driver = Driver()
    driver.feed(TO_RCPT + b"STARTTLS\r\n")
    tls = replace(SETTINGS, hostname="other.test", requires_auth=True)
    driver.session.tls_started(tls)
    session = driver.session
    assert (session.is_tls, session.is_esmtp, session.hello_name) == (True, False, "")
    assert session.accepted_recipients == 0
    assert session.settings is tls
    assert session.state is State.GREETED
    assert driver.feed(b"EHLO c\r\n") == [250]
    assert b"250-other.test " in driver.output


@pytest.mark.parametrize(
    ("settings", "is_tls", "line", "expected"),
    [
        pytest.param(SETTINGS, False, b"STARTTLS now", b"501 5.5.4", id="parameters"),
        pytest.param(SETTINGS, True, b"STARTTLS", b"503 5.5.1", id="twice"),
        pytest.param(
            replace(SETTINGS, offers_starttls=False), False, b"STARTTLS", b"502 5.5.1",
            id="not offered",
        ),
        pytest.param(SETTINGS, False, b"AUTH PLAIN", b"503 5.7.10", id="AUTH in clear"),
        pytest.param(
            replace(SETTINGS, mechanisms=()), True, b"AUTH PLAIN", b"502 5.5.1", id="no mechanisms"
        ),
        pytest.param(SETTINGS, True, b"AUTH", b"501 5.5.4", id="AUTH alone"),
        pytest.param(SETTINGS, True, b"AUTH CRAM-MD5", b"504 5.5.4", id="AUTH unknown"),
        pytest.param(SETTINGS, True, b"AUTH PLAIN ?", b"501 5.5.2", id="AUTH no base64"),
    ],
)  # fmt: skip
@pytest.mark.case("S34", "S35")
def test_starttls_and_auth_refused(
    settings: SessionSettings, is_tls: bool, line: bytes, expected: bytes
) -> None:
    driver = Driver(settings, is_tls=is_tls)
    driver.feed(b"EHLO c\r\n" + line + b"\r\n")
    assert driver.last_line.startswith(expected + b" ")
    assert driver.session.errors == 1
    assert driver.session.state is State.READY


def test_auth_needs_a_hello_and_no_transaction() -> None:
    driver = Driver(is_tls=True)
    assert driver.feed(b"AUTH PLAIN\r\n") == [503]
    assert driver.feed(TO_RCPT + b"AUTH PLAIN\r\n")[-1] == 503
    assert driver.last_line == b"503 5.5.1 Authenticate before MAIL"
    assert driver.session.state is State.RCPT


@pytest.mark.case("S36", "S40")
def test_auth_with_a_challenge() -> None:
    driver = Driver(is_tls=True)
    assert driver.feed(b"HELO c\r\nAUTH PLAIN\r\n") == [250, 334]
    assert driver.last_line == b"334 "
    assert driver.session.deadline() is Deadline.COMMAND
    assert driver.feed(b"AGEAYg==\r\n") == [235]
    assert driver.events[-2:] == [Auth("PLAIN", None), AuthResponse(b"\0a\0b")]
    assert driver.session.is_authenticated
    assert driver.feed(b"AUTH PLAIN\r\n") == [503]
    assert driver.last_line.startswith(b"503 5.5.1 ")


def test_an_empty_answer_to_a_challenge_and_a_challenge_with_data() -> None:
    driver = Driver(is_tls=True)

    def ask_twice(session: ServerSession, event: object) -> None:
        if isinstance(event, Auth):
            session.challenge(b"Username:")
        elif isinstance(event, Hello):
            session.reply(250, "", "")
        else:
            session.reply(235, "2.7.0", "in")

    driver.answer = ask_twice
    driver.feed(b"EHLO c\r\nAUTH LOGIN =\r\n")
    assert driver.last_line == b"334 VXNlcm5hbWU6"
    assert driver.feed(b"\r\n") == [235]
    assert driver.events[-1] == AuthResponse(b"")


@pytest.mark.case("S46")
@pytest.mark.parametrize(
    ("answer", "expected"), [(b"*", b"501 5.7.0"), (b"**", b"501 5.5.2"), (b"=", b"501 5.5.2")]
)
def test_auth_cancelled_or_malformed(answer: bytes, expected: bytes) -> None:
    driver = Driver(is_tls=True)
    driver.feed(b"EHLO c\r\nAUTH PLAIN\r\n" + answer + b"\r\n")
    assert driver.last_line.startswith(expected + b" ")
    assert driver.session.errors == 1
    assert driver.feed(b"NOOP\r\n") == [250]


def test_failed_authentications_are_errors_and_temporary_ones_are_not() -> None:
    driver = Driver(is_tls=True, answer=refusing(Auth, 454, "4.7.0"))
    line = b"AUTH PLAIN AGEAYg==\r\n"
    assert driver.feed(b"EHLO c\r\n" + line * 4) == [250] + [454] * 4
    driver.answer = refusing(Auth, 535, "5.7.8")
    assert driver.feed(line * 4) == [535, 535, 421]
    assert not driver.session.is_authenticated
    assert driver.violations == [
        Violation("AUTH", 421, "4.7.0", driver.violations[0].text, closes=True)
    ]


def test_secrets_are_not_in_the_representation_of_events() -> None:
    assert "secret" not in repr(Auth("PLAIN", b"\0a\0secret"))
    assert "secret" not in repr(AuthResponse(b"secret"))
