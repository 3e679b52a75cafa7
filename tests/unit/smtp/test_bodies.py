"""DATA, BDAT and the replies that end a message, LMTP included."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relevo.smtp.events import (
    BodyStart,
    Hello,
    Mail,
    MessageEnd,
    Rcpt,
    Reset,
)
from relevo.smtp.server import Deadline, ServerSession
from relevo.smtp.states import State
from unit.smtp.driver import SETTINGS, TO_DATA, TO_RCPT, Driver, refusing


@pytest.mark.case("D1", "D10", "D12")
def test_a_message_and_then_nothing_is_left_of_its_transaction() -> None:
    driver = Driver(replace(SETTINGS, max_size=0))
    body = b"x" * 5000 + b"\r\n\0\xff\r\n"
    assert driver.feed(TO_DATA + body + b".\r\nRCPT TO:<c@d>\r\n")[-3:] == [354, 250, 503]
    assert driver.body == body
    assert MessageEnd(len(body) + 3) in driver.events


@pytest.mark.case("D11")
@pytest.mark.parametrize("code", [451, 554])
def test_data_after_a_failed_data(code: int) -> None:
    driver = Driver(answer=refusing(MessageEnd, code))
    assert driver.feed(TO_DATA + b"x\r\n.\r\nDATA\r\n")[-3:] == [354, code, 503]


def test_data_refused_before_the_body() -> None:
    driver = Driver(answer=refusing(BodyStart, 451, "4.3.1"))
    assert driver.feed(TO_DATA + b"NOOP\r\nDATA\r\n")[-3:] == [451, 250, 503]


@pytest.mark.case("D9")
def test_a_message_over_the_limit_is_dropped_at_once_and_answered_at_its_end() -> None:
    driver = Driver(replace(SETTINGS, max_size=100))
    driver.feed(TO_DATA)
    assert driver.feed(b"x" * 101) == []
    assert driver.events[-1] == Reset()
    assert driver.session.deadline() is Deadline.DATA
    assert driver.feed(b"x" * 1000, b"\r\n.\r\nNOOP\r\n") == [552, 250]
    assert driver.violations[-1].code == 552
    assert driver.session.errors == 0
    assert driver.session.state is State.READY
    assert driver.messages == 0


def test_bdat_in_several_chunks() -> None:
    driver = Driver()
    stream = TO_RCPT + b"BDAT 3\r\na\r\nBDAT 0\r\nNOOP\r\nBDAT 1 LAST\r\nbNOOP\r\n"
    assert driver.feed(stream) == [250] * 8
    assert driver.body == b"a\r\nb"
    assert driver.events.count(BodyStart(is_bdat=True)) == 1
    assert MessageEnd(4) in driver.events


@pytest.mark.parametrize("line", [b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"DATA", b"STARTTLS"])
def test_between_chunks_most_commands_are_out_of_sequence(line: bytes) -> None:
    driver = Driver()
    driver.feed(TO_RCPT + b"BDAT 1\r\na")
    assert driver.feed(line + b"\r\nBDAT 1 LAST\r\nb") == [503, 250]
    assert driver.body == b"ab"


def test_rset_drops_the_chunks() -> None:
    driver = Driver()
    assert driver.feed(TO_RCPT + b"BDAT 1\r\naRSET\r\nBDAT 1 LAST\r\nb")[-3:] == [250, 250, 503]
    assert driver.messages == 0


def test_a_refused_first_chunk_is_read_and_the_rest_with_it() -> None:
    driver = Driver(answer=refusing(BodyStart, 452, "4.3.1"))
    chunks = b"BDAT 6\r\nNOOP\r\nBDAT 6\r\nNOOP\r\n" * 3 + b"BDAT 6 LAST\r\nNOOP\r\n"
    assert driver.feed(TO_RCPT + chunks)[3:] == [452] + [503] * 6
    assert driver.session.errors == 0
    assert not driver.session.is_closing
    assert driver.feed(b"BDAT 0 LAST\r\n") == [503]
    assert driver.session.errors == 1


def test_chunks_over_the_limit() -> None:
    driver = Driver(replace(SETTINGS, max_size=10))
    stream = b"BDAT 10\r\n" + b"x" * 10 + b"BDAT 1\r\nxBDAT 6 LAST\r\nNOOP\r\nNOOP\r\n"
    assert driver.feed(TO_RCPT + stream)[3:] == [250, 552, 503, 250]
    assert driver.events.count(Reset()) == 1
    assert driver.session.state is State.READY
    assert driver.session.errors == 0


def test_many_tiny_chunks_end_the_session() -> None:
    driver = Driver()
    driver.feed(TO_RCPT)
    assert driver.feed(b"BDAT 0\r\n" * 2000)[-2:] == [250, 421]
    assert driver.session.is_closing


def test_bdat_where_it_is_not_offered() -> None:
    driver = Driver(replace(SETTINGS, offers_chunking=False))
    assert driver.feed(TO_RCPT + b"BDAT 6\r\nRSET\r\nDATA\r\n")[3:] == [502, 354]


def test_data_for_a_binarymime_message() -> None:
    driver = Driver(replace(SETTINGS, offers_binarymime=True))
    driver.feed(b"EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\n")
    assert driver.feed(b"DATA\r\nBDAT 1 LAST\r\n\n") == [503, 250]


LMTP = replace(SETTINGS, is_lmtp=True)
TO_LMTP_DATA = b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"


@pytest.mark.parametrize("verb", [b"EHLO", b"HELO"])
def test_lmtp_knows_lhlo_only(verb: bytes) -> None:
    driver = Driver(LMTP)
    assert driver.feed(verb + b" c\r\nMAIL FROM:<>\r\n") == [500, 503]
    assert b"LHLO" in driver.last_line
    assert driver.feed(b"LHLO c\r\n") == [250]
    assert driver.session.is_esmtp


def test_lmtp_has_one_reply_a_recipient() -> None:
    driver = Driver(LMTP)
    driver.answer = _answer_each
    assert driver.feed(TO_LMTP_DATA + b"x\r\n.\r\nNOOP\r\n")[-4:] == [354, 250, 550, 250]


def _answer_each(session: ServerSession, event: object) -> None:
    if isinstance(event, MessageEnd):
        assert session.accepted_recipients == 2
        session.reply_recipients([(250, "2.0.0", "first"), (550, "5.2.2", "second")])
    elif isinstance(event, BodyStart):
        session.proceed()
    elif isinstance(event, Hello | Mail | Rcpt):
        session.reply(250, "2.0.0", "ok")


def test_lmtp_says_one_answer_for_all_once_a_recipient() -> None:
    driver = Driver(LMTP, answer=refusing(MessageEnd, 451, "4.3.0"))
    assert driver.feed(TO_LMTP_DATA + b"x\r\n.\r\n")[-3:] == [354, 451, 451]


def test_lmtp_says_a_message_too_large_once_a_recipient() -> None:
    driver = Driver(replace(LMTP, max_size=10))
    assert driver.feed(TO_LMTP_DATA + b"x" * 20 + b"\r\n.\r\nNOOP\r\n")[-4:] == [354, 552, 552, 250]


def test_lmtp_wants_as_many_replies_as_recipients() -> None:
    def one_reply(session: ServerSession, event: object) -> None:
        if isinstance(event, MessageEnd):
            with pytest.raises(AssertionError):
                session.reply_recipients([(250, "2.0.0", "only one")])
        else:
            _answer_each(session, event)

    driver = Driver(LMTP, answer=one_reply)
    driver.feed(TO_LMTP_DATA + b".\r\n")
    assert driver.messages == 1


def test_behind_a_refused_only_chunk_nothing_is_forgiven() -> None:
    driver = Driver(answer=refusing(BodyStart, 452, "4.3.1"))
    assert driver.feed(TO_RCPT + b"BDAT 1 LAST\r\nxDATA\r\n")[-2:] == [452, 503]
    assert driver.session.errors == 1
