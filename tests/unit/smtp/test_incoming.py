"""Commands: their order, what counts as an error, lengths of lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relevo.smtp.events import (
    Hello,
    Mail,
    Rcpt,
    Reset,
)
from relevo.smtp.states import State
from unit.smtp.driver import SETTINGS, TO_RCPT, Driver, refusing


@pytest.mark.case("S11", "S12", "S13")
@pytest.mark.parametrize(
    ("lines", "text"),
    [
        pytest.param(b"MAIL FROM:<a@b.test>\r\n", b"EHLO", id="MAIL without EHLO"),
        pytest.param(b"RCPT TO:<a@b.test>\r\n", b"EHLO", id="RCPT without EHLO"),
        pytest.param(b"DATA\r\n", b"EHLO", id="DATA without EHLO"),
        pytest.param(b"EHLO c\r\nRCPT TO:<a@b.test>\r\n", b"MAIL", id="RCPT without MAIL"),
        pytest.param(b"EHLO c\r\nDATA\r\n", b"MAIL", id="DATA without MAIL"),
        pytest.param(b"EHLO c\r\nMAIL FROM:<>\r\nDATA\r\n", b"RCPT", id="DATA without RCPT"),
        pytest.param(b"EHLO c\r\nBDAT 0 LAST\r\n", b"MAIL", id="BDAT without MAIL"),
    ],
)
def test_out_of_sequence(lines: bytes, text: bytes) -> None:
    driver = Driver()
    assert driver.feed(lines)[-1] == 503
    assert driver.last_line.startswith(b"503 5.5.1 Send " + text)
    assert driver.session.errors == 1


@pytest.mark.case("S14", "S15")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"MAIL TO:<a@b>", b"500 5.5.2"),
        (b"MAIL", b"500 5.5.2"),
        (b"MAIL FROM :<a@b>", b"500 5.5.2"),
        (b"MAIL FROM:", b"500 5.5.4"),
        (b"MAIL FROM: \t", b"500 5.5.4"),
        (b"MAIL FROM:<a>", b"501 5.1.7"),
        (b"MAIL FROM:<a@b/c>", b"501 5.1.8"),
        (b"MAIL FROM:<a@b> X", b"555 5.5.4"),
        (b"MAIL FROM:<a@b> SIZE=x", b"501 5.5.4"),
        (b"MAIL FROM:<a@b> SIZE=1001", b"552 5.3.4"),
    ],
)
def test_mail_refused(line: bytes, expected: bytes) -> None:
    driver = Driver()
    driver.feed(b"EHLO c\r\n" + line + b"\r\n")
    assert driver.last_line.startswith(expected)
    assert driver.session.errors == (0 if expected.startswith(b"552") else 1)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"RCPT FROM:<a@b>", b"500 5.5.2"),
        (b"RCPT TO:", b"500 5.5.4"),
        (b"RCPT TO:<a>", b"501 5.1.3"),
        (b"RCPT TO:<a@b/c>", b"501 5.1.2"),
        (b"RCPT TO:<a@b> X", b"555 5.5.4"),
    ],
)
def test_rcpt_refused(line: bytes, expected: bytes) -> None:
    driver = Driver()
    driver.feed(b"EHLO c\r\nMAIL FROM:<>\r\n" + line + b"\r\n")
    assert driver.last_line.startswith(expected)
    assert driver.session.state is State.MAIL


@pytest.mark.case("S17")
def test_verbs_and_keywords_in_any_case_with_blanks() -> None:
    driver = Driver()
    stream = b"ehlo c\r\nmail from: <a@b.test>  size=10 body=8bitmime\r\nRcpt tO:c@d.test\r\n"
    assert driver.feed(stream + b"data\r\n") == [250, 250, 250, 354]


@pytest.mark.case("S23")
def test_submission_needs_auth_before_mail_even_for_a_bad_path() -> None:
    driver = Driver(replace(SETTINGS, requires_auth=True), is_tls=True)
    driver.feed(b"EHLO c\r\nMAIL FROM:<a>\r\n")
    assert driver.last_line.startswith(b"550 5.7.9 ")
    assert driver.session.errors == 0
    assert driver.feed(b"AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.test>\r\n") == [235, 250]


def test_a_second_mail_starts_anew() -> None:
    driver = Driver()
    driver.feed(TO_RCPT + b"MAIL FROM:<z@b.test>\r\n")
    assert driver.session.state is State.MAIL
    assert driver.session.accepted_recipients == 0
    assert driver.feed(b"DATA\r\n") == [503]


@pytest.mark.parametrize("bad", [b"MAIL FROM:<bad>", b"MAIL TO:<a@b>", b"MAIL FROM:<a@b> X=y"])
def test_a_refused_second_mail_ends_the_first(bad: bytes) -> None:
    driver = Driver()
    driver.feed(TO_RCPT + bad + b"\r\n")
    assert driver.violations[-1].resets
    assert driver.feed(b"DATA\r\n") == [503], "not run under the old reverse-path"


def test_a_second_mail_refused_by_our_side_ends_the_first() -> None:
    driver = Driver()
    driver.feed(TO_RCPT)
    driver.answer = refusing(Mail, 550)
    assert driver.feed(b"MAIL FROM:<x@y.test>\r\nDATA\r\n") == [550, 503]


@pytest.mark.parametrize("line", [b"EHLO c\r\n", b"HELO c\r\n", b"RSET\r\n"])
def test_hello_and_rset_end_a_transaction(line: bytes) -> None:
    driver = Driver()
    assert driver.feed(TO_RCPT + line + b"DATA\r\n")[-2:] == [250, 503]
    assert isinstance(driver.events[-2], Reset | Hello)


def test_refused_recipients_leave_the_transaction() -> None:
    driver = Driver(answer=refusing(Rcpt, 550, "5.1.1"))
    assert driver.feed(TO_RCPT) == [250, 250, 550]
    assert driver.session.state is State.MAIL
    assert driver.session.errors == 0
    assert driver.session.rejected_recipients == 1


@pytest.mark.case("S30")
def test_too_many_recipients_get_452() -> None:
    driver = Driver(replace(SETTINGS, max_recipients=2))
    driver.feed(TO_RCPT)
    assert driver.feed(b"RCPT TO:<a@b>\r\n" * 2 + b"DATA\r\n") == [250, 452, 354]
    assert driver.session.errors == 0


@pytest.mark.case("S7")
def test_the_third_error_is_answered_421() -> None:
    driver = Driver()
    assert driver.feed(b"FOO\r\nBAR\r\nBAZ\r\nNOOP\r\n") == [500, 500, 421]
    assert driver.last_line.startswith(b"421 4.7.0 ")
    assert driver.session.is_closing
    assert driver.violations[-1].closes


@pytest.mark.case("S8")
def test_errors_survive_starttls() -> None:
    driver = Driver()
    driver.feed(b"FOO\r\nBAR\r\nSTARTTLS\r\n")
    driver.session.tls_started(SETTINGS)
    assert driver.feed(b"BAZ\r\n") == [421]


def test_answers_of_our_own_side_are_no_errors_of_the_client() -> None:
    driver = Driver(answer=refusing(Mail, 501, "5.1.8"))
    assert driver.feed(b"EHLO c\r\n" + b"MAIL FROM:<a@b>\r\n" * 5) == [250] + [501] * 5


def test_what_is_pipelined_behind_a_refusal_is_no_error() -> None:
    driver = Driver(answer=refusing(Rcpt, 550, "5.1.1"))
    flight = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
    assert driver.feed(b"EHLO c\r\n" + flight * 5) == [250, *[250, 550, 503] * 5]
    assert driver.session.errors == 0
    driver.answer = refusing(Mail, 451)
    assert driver.feed(flight * 5) == [451, 503, 503] * 5
    assert driver.session.errors == 0
    assert driver.feed(b"DATA\r\n") == [503]
    assert driver.session.errors == 1, "DATA ended the flight"


def test_too_many_refused_recipients_end_the_session() -> None:
    settings = replace(SETTINGS, max_rejected_recipients=3)
    driver = Driver(settings, answer=refusing(Rcpt, 550, "5.1.1"))
    driver.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\n")
    assert driver.feed(b"RCPT TO:<c@d>\r\n" * 9) == [550, 550, 550, 421]
    assert driver.session.rejected_recipients == 4
    assert driver.violations[-1].closes


def test_recipients_behind_a_refused_mail_count_as_refused() -> None:
    settings = replace(SETTINGS, max_rejected_recipients=3)
    driver = Driver(settings, answer=refusing(Mail, 550))
    driver.feed(b"EHLO c\r\nMAIL FROM:<a@b>\r\n")
    assert driver.feed(b"RCPT TO:<c@d>\r\n" * 9) == [503, 503, 503, 421]


def test_temporarily_refused_recipients_do_not_count() -> None:
    driver = Driver(answer=refusing(Rcpt, 451, "4.4.3"))
    driver.feed(TO_RCPT)
    assert driver.session.rejected_recipients == 0


def test_commands_without_a_message_are_bounded() -> None:
    driver = Driver(replace(SETTINGS, max_idle_commands=5))
    message = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n"
    assert driver.feed(b"EHLO c\r\n" + message * 20)[-1] == 250
    assert driver.feed(b"NOOP\r\n" * 9) == [250] * 5 + [421]


@pytest.mark.case("S10")
@pytest.mark.parametrize("step", [1000, 10**6])
def test_command_lines_at_and_over_the_limit(step: int) -> None:
    driver = Driver()

    def line(octets: int) -> list[bytes]:
        text = b"NOOP " + b"x" * (octets - 5) + b"\r\n"
        return [text[index : index + step] for index in range(0, len(text), step)]

    assert driver.feed(*line(4096)) == [250]
    assert driver.feed(*line(4097)) == [500]
    assert driver.last_line.startswith(b"500 5.5.6 ")
    assert driver.session.errors == 1
    assert driver.feed(*line(65535)) == [500]
    assert not driver.session.is_closing


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_a_line_without_end_closes_the_session(end: bytes) -> None:
    driver = Driver()
    assert driver.feed(b"x" * 65_537 + end) == [500]
    assert driver.last_line.startswith(b"500 5.5.6 ")
    assert driver.session.is_closing
    assert driver.session.buffered == 0
    assert driver.violations[-1].closes


def test_auth_lines_may_be_longer() -> None:
    driver = Driver(is_tls=True)
    driver.feed(b"EHLO c\r\n")
    assert driver.feed(b"AUTH PLAIN " + b"A" * 12_276 + b"\r\n") == [235]
    driver = Driver(is_tls=True)
    driver.feed(b"EHLO c\r\n")
    assert driver.feed(b"AUTH PLAIN " + b"A" * 12_280 + b"\r\n") == [500]
    assert driver.feed(b"AUTH PLAIN\r\n" + b"A" * 12_292 + b"\r\n") == [334, 500]
    assert driver.violations[-1].verb == "AUTH"
    assert driver.session.state is State.READY
