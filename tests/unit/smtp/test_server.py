"""The outside of the server session: greeting, answers, deadlines, ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relevo.smtp.events import (
    NO_MAIL_PARAMETERS,
    Chunk,
    Event,
    Hello,
    Mail,
    MessageEnd,
    Path,
    Quit,
    Reset,
    StartTls,
    Violation,
)
from relevo.smtp.server import Deadline, ServerSession
from relevo.smtp.states import State
from unit.smtp.driver import SETTINGS, TO_DATA, TO_RCPT, Driver, accept, codes, refusing

PATIENT = replace(SETTINGS, max_errors=1000)


def test_the_greeting_names_host_and_software() -> None:
    assert Driver().output == b"220 mx.test ESMTP relevo\r\n"
    assert Driver(replace(SETTINGS, is_lmtp=True)).output == b"220 mx.test LMTP relevo\r\n"


def test_nothing_is_run_before_the_greeting() -> None:
    session = ServerSession(SETTINGS)
    session.receive(b"EHLO early\r\n")
    assert session.next_event() is None
    session.greet()
    assert session.next_event() == Hello("EHLO", "early")


@pytest.mark.case("S2")
@pytest.mark.parametrize("line", [b"EHLO", b"HELO ", b"EHLO   "])
def test_a_hello_needs_a_name(line: bytes) -> None:
    assert Driver().feed(line + b"\r\n") == [501]


@pytest.mark.case("S3")
def test_extensions_in_clear() -> None:
    driver = Driver()
    driver.feed(b"EHLO cli\r\n")
    lines = [line[4:] for line in driver.output.decode().splitlines()[1:]]
    assert lines == [
        "mx.test welcome", "PIPELINING", "SIZE 1000", "8BITMIME", "SMTPUTF8",
        "ENHANCEDSTATUSCODES", "CHUNKING", "DSN", "STARTTLS", "LIMITS RCPTMAX=101", "HELP",
    ]  # fmt: skip


@pytest.mark.case("S4")
def test_extensions_on_tls() -> None:
    driver = Driver(replace(SETTINGS, offers_binarymime=True, offers_dsn=False), is_tls=True)
    driver.feed(b"EHLO cli\r\n")
    lines = [line[4:] for line in driver.output.decode().splitlines()[1:]]
    assert "AUTH PLAIN LOGIN" in lines
    assert "BINARYMIME" in lines
    assert "STARTTLS" not in lines
    assert "DSN" not in lines


@pytest.mark.parametrize("is_tls", [False, True])
def test_requiretls_is_offered_and_taken_on_tls_only(is_tls: bool) -> None:
    driver = Driver(replace(SETTINGS, offers_requiretls=True), is_tls=is_tls)
    driver.feed(b"EHLO cli\r\n")
    assert (b"-REQUIRETLS\r\n" in driver.output) is is_tls
    assert driver.feed(b"MAIL FROM:<a@b.test> REQUIRETLS\r\n") == [250 if is_tls else 555]


def test_the_answer_to_helo_has_one_line_and_no_enhanced_code() -> None:
    driver = Driver()
    driver.feed(b"HELO cli\r\n")
    assert driver.last_line == b"250 mx.test welcome"
    assert not driver.session.is_esmtp
    assert driver.session.hello_name == "cli"


def test_a_refused_hello_moves_nothing() -> None:
    driver = Driver(answer=refusing(Hello, 550, "5.7.1"))
    assert driver.feed(b"EHLO cli\r\n") == [550]
    assert driver.last_line == b"550 no", "RFC 2034: no enhanced code"
    assert driver.session.state is State.GREETED
    assert driver.session.hello_name == ""


def test_helo_after_ehlo_takes_nothing_back() -> None:
    driver = Driver()
    driver.feed(b"EHLO a\r\nHELO b\r\n")
    assert driver.session.is_esmtp
    assert driver.session.hello_name == "b"


@pytest.mark.case("S5")
def test_the_small_commands() -> None:
    driver = Driver(PATIENT)
    stream = b"NOOP x\r\nHELP\r\nRSET\r\nVRFY x\r\nEXPN x\r\n\r\n"
    assert driver.feed(stream) == [250, 214, 250, 502, 502, 500]
    assert [event.verb for event in driver.violations] == ["VRFY", "EXPN", 'unknown<"">']


@pytest.mark.parametrize(
    ("line", "label"),
    [
        (b"XFORWARD a", 'unknown<"XFORWA">'),
        (b"XCLIENT ADDR=1.2.3.4", "XCLIENT"),
        (b"\xff\0\x1b\"'x", 'unknown<"?????X">'),
        (b"lhlo cli", "LHLO"),
    ],
)
def test_an_unknown_command_has_a_label_that_is_safe_to_log(line: bytes, label: str) -> None:
    driver = Driver()
    assert driver.feed(line + b"\r\n") == [500]
    assert driver.violations == [Violation(label, 500, "5.5.1", "Command unknown")]


def test_quit_is_answered_and_nothing_behind_it_is_run() -> None:
    driver = Driver()
    assert driver.feed(b"QUIT\r\nNOOP\r\n") == [221]
    assert driver.events == [Quit()]
    assert driver.session.is_closing
    assert driver.feed(b"NOOP\r\n") == []


def test_one_command_at_a_time_waits_for_its_answer() -> None:
    session = ServerSession(SETTINGS)
    session.greet()
    session.receive(b"EHLO c\r\nMAIL FROM:<a@b>\r\n")
    assert isinstance(session.next_event(), Hello)
    assert session.next_event() is None
    assert session.deadline() is Deadline.ANSWER
    session.reply(250, "", "")
    assert session.next_event() == Mail(Path("a", "b"), NO_MAIL_PARAMETERS)
    assert session.deadline() is Deadline.ANSWER


def test_an_answer_without_a_question_is_our_own_fault() -> None:
    session = ServerSession(SETTINGS)
    session.greet()
    with pytest.raises(AssertionError):
        session.reply(250, "2.0.0", "?")
    with pytest.raises(AssertionError):
        session.proceed()


def test_an_answer_before_the_event_was_taken_is_our_own_fault() -> None:
    driver = Driver()
    driver.feed(TO_DATA)
    session = driver.session
    session.receive(b"x\r\n.\r\n")
    assert isinstance(session.next_event(), Chunk)
    with pytest.raises(AssertionError):
        session.reply(250, "2.0.0", "too early")


def test_close_at_any_moment() -> None:
    driver = Driver()
    driver.feed(TO_DATA + b"x")
    driver.session.close(421, "4.4.2", "too slow")
    driver.session.close(421, "4.4.2", "twice")
    assert codes(driver.session.take_output()) == [421]
    assert driver.session.is_closing
    assert driver.session.state is State.CLOSED
    assert driver.session.next_event() is None


def test_late_answers_have_no_effect_once_closing() -> None:
    session = ServerSession(SETTINGS)
    session.greet()
    session.receive(b"EHLO c\r\n")
    session.next_event()
    session.close(421, "4.3.2", "stopping")
    session.take_output()
    session.reply(250, "", "late")
    session.proceed()
    session.challenge(b"")
    session.reply_recipients([])
    session.greet()
    session.tls_started(SETTINGS)
    session.receive(b"NOOP\r\n")
    assert session.take_output() == b""
    assert session.buffered == 0
    assert session.deadline() is Deadline.ANSWER


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"EHLO c\r\nNO", [], id="no transaction"),
        pytest.param(TO_RCPT, [Reset()], id="envelope"),
        pytest.param(TO_DATA + b"x", [Reset()], id="inside DATA"),
        pytest.param(TO_RCPT + b"BDAT 9\r\nx", [Reset()], id="inside a chunk"),
        pytest.param(b"QUIT\r\n", [], id="after QUIT"),
    ],
)
def test_end_of_file_drops_everything(stream: bytes, events: list[object]) -> None:
    driver = Driver()
    driver.feed(stream)
    driver.session.receive_eof()
    seen = len(driver.events)
    driver.pump()
    assert driver.events[seen:] == events
    assert driver.session.is_closing
    assert driver.session.buffered == 0


def test_end_of_file_leaves_a_finished_message_to_the_shell() -> None:
    def wait_at_the_end(session: ServerSession, event: Event) -> None:
        if not isinstance(event, MessageEnd):
            accept(session, event)

    driver = Driver(answer=wait_at_the_end)
    driver.feed(TO_DATA + b".\r\n")
    assert isinstance(driver.events[-1], MessageEnd)
    driver.session.receive_eof()
    assert driver.session.next_event() is None
    assert driver.session.is_closing


def test_the_deadline_follows_the_state() -> None:
    driver = Driver()
    assert driver.session.deadline() is Deadline.COMMAND
    driver.feed(TO_DATA)
    assert driver.session.deadline() is Deadline.DATA
    driver.feed(b".\r\n")
    assert driver.session.deadline() is Deadline.COMMAND
    driver.feed(b"STARTTLS\r\n")
    assert isinstance(driver.events[-1], StartTls)
    assert driver.session.deadline() is Deadline.ANSWER, "the handshake is the shell's"


def test_line_ends_in_the_text_for_a_hello_make_no_capabilities() -> None:
    session = ServerSession(SETTINGS)
    session.greet()
    session.receive(b"EHLO c\r\n")
    session.next_event()
    session.reply(250, "", "hi\r\n250-XEVIL\nx")
    assert b"250-mx.test hi 250-XEVIL x\r\n250-PIPELINING\r\n" in session.take_output()


def test_commands_and_replies_are_told_to_whoever_counts_them() -> None:
    verbs: list[bytes] = []
    told: list[int] = []
    settings = replace(SETTINGS, count_command=verbs.append, count_reply=told.append)
    driver = Driver(settings)
    driver.feed(TO_DATA + b"x\r\n.\r\nnoop\r\nWHAT\r\nQUIT\r\n")
    assert verbs == [b"EHLO", b"MAIL", b"RCPT", b"DATA", b"NOOP", b"WHAT", b"QUIT"]
    assert told == [250, 250, 250, 354, 250, 250, 500, 221]  # the greeting is not counted
