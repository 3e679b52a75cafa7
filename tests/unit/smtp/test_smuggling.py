"""No ending but CRLF . CRLF ends a message, and nothing clear is run under TLS.

Each false end of data is followed by a whole second transaction, as an attacker would send it: it
must be part of the first message or lead to the end of the session, never to a second message.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from relevo.smtp.events import Chunk, Hello, Mail, MessageEnd, StartTls
from relevo.smtp.server import ServerSession
from unit.smtp.driver import SETTINGS, TO_DATA, TO_RCPT, Driver, accept

SECOND = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nevil\r\n.\r\n"
ENDS = [
    bytes(first + b"." + second)
    for first, second in itertools.product(
        (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\0\r\n", b"\r\n\0", b"\r\n "),
        (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b" \r\n"),
    )
    if (first, second) not in {(b"\r\n", b"\r\n"), (b"\0\r\n", b"\r\n")}  # true ends
]
STEPS = [pytest.param(1, id="octet by octet"), pytest.param(10_000, id="one read")]


def cut(stream: bytes, step: int) -> list[bytes]:
    return [stream[index : index + step] for index in range(0, len(stream), step)]


@pytest.mark.case("D2", "D3")
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_a_false_end_of_data_never_starts_a_second_message(end: bytes, step: int) -> None:
    driver = Driver()
    driver.feed(*cut(TO_DATA + b"A: b\r\n\r\nx" + end + SECOND, step))
    senders = [event.path.local for event in driver.events if isinstance(event, Mail)]
    assert senders == ["a"]
    if has_bare(end):
        assert driver.messages == 0
        assert driver.session.is_closing
        assert driver.violations[-1].code == 521
        assert driver.violations[-1].closes
        assert driver.last_line.startswith(b"521 5.5.2 ")
    else:  # ordinary text: the end mark of the second message ends the first
        assert driver.messages == 1
        assert driver.body.endswith(b"evil\r\n")


def has_bare(text: bytes) -> bool:
    rest = text.replace(b"\r\n", b"")
    return b"\r" in rest or b"\n" in rest


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_in_a_chunk_only_the_count_ends_the_message(end: bytes, step: int) -> None:
    driver = Driver()
    body = b"x" + end + SECOND
    driver.feed(*cut(TO_RCPT + b"BDAT %d LAST\r\n" % len(body) + body + b"NOOP\r\n", step))
    assert len([event for event in driver.events if isinstance(event, Mail)]) == 1
    if has_bare(end):
        assert (driver.messages, driver.session.is_closing) == (0, True)
        assert driver.last_line.startswith(b"521 5.5.2 ")
    else:
        assert (driver.messages, driver.session.is_closing) == (1, False)
        assert driver.body == body


def test_binarymime_takes_any_octets_and_still_ends_by_its_count() -> None:
    driver = Driver(replace(SETTINGS, offers_binarymime=True))
    body = b"\n.\r\n" + SECOND + b"\r"
    driver.feed(
        b"EHLO c\r\nMAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<c@d.test>\r\n"
        b"BDAT %d LAST\r\n" % len(body) + body + b"NOOP\r\n"
    )
    assert driver.body == body
    assert driver.messages == 1
    assert driver.last_line.startswith(b"250 2.0.0 Nothing")


def test_a_true_end_runs_what_is_pipelined_behind_it() -> None:
    driver = Driver()
    driver.feed(TO_DATA + b"x\r\n.\r\n" + SECOND)
    assert driver.messages == 2


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "tail", [b"x\n.\r\nNOOP\r\n", b"\r\r\n.\r\nNOOP\r\n"], ids=["bare LF", "CR CR LF"]
)
def test_nothing_behind_a_bad_line_end_is_run(tail: bytes, step: int) -> None:
    driver = Driver()
    driver.feed(*cut(TO_DATA + tail, step))
    count = len(driver.events)
    assert driver.feed(b"NOOP\r\n.\r\nNOOP\r\n") == []
    assert len(driver.events) == count
    assert driver.session.buffered == 0


@pytest.mark.case("S6")
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\r\r\n", b"\n", b"NOOP\rMAIL FROM:<>\n"], ids=repr
)
def test_a_command_ends_with_crlf_only(line: bytes, step: int) -> None:
    driver = Driver()
    assert driver.feed(*cut(b"noop\r\n" + line + b"RSET\r\n", step)) == [250, 500]
    assert driver.last_line.startswith(b"500 5.5.2 ")
    assert b"CRLF" in driver.last_line
    assert driver.session.is_closing
    assert driver.violations[-1].closes


@pytest.mark.case("S44")
def test_what_is_pipelined_behind_starttls_is_never_run() -> None:
    driver = Driver()
    driver.feed(b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@x.test>\r\nRSET\r\n")
    assert isinstance(driver.events[-1], StartTls)
    assert driver.session.buffered == 0
    driver.session.receive(b"MAIL FROM:<evil@x.test>\r\n")  # late, still before the handshake
    driver.pump()
    driver.session.tls_started(SETTINGS)
    assert driver.feed(b"EHLO tls\r\n") == [250]
    assert [e.name for e in driver.events if isinstance(e, Hello)] == ["c", "tls"]
    assert not [event for event in driver.events if isinstance(event, Mail)]


def test_octets_wait_while_the_answer_to_starttls_waits() -> None:
    session = ServerSession(SETTINGS)
    session.greet()
    session.receive(b"STARTTLS\r\nNOOP\r\n")
    assert isinstance(session.next_event(), StartTls)
    session.reply(454, "4.7.0", "not now")
    assert session.next_event() is None
    assert session.take_output().endswith(b"250 2.0.0 Nothing done\r\n"), "no TLS: it is run"


@pytest.mark.parametrize("verb", [b"GET", b"post", b"CONNECT"])
@pytest.mark.case("S9")
def test_a_browser_is_sent_away_at_once(verb: bytes) -> None:
    driver = Driver()
    assert driver.feed(verb + b" / HTTP/1.1\r\nHost: x\r\n\r\n" + TO_DATA + b"x\r\n.\r\n") == [502]
    assert driver.session.is_closing
    assert driver.messages == 0


def test_octets_of_a_chunk_out_of_sequence_are_no_commands() -> None:
    driver = Driver()
    evil = b"MAIL FROM:<evil@x.test>\r\n"
    assert driver.feed(b"EHLO c\r\nBDAT %d LAST\r\n" % len(evil) + evil + b"NOOP\r\n") == [
        250, 503, 250,
    ]  # fmt: skip
    assert not [event for event in driver.events if isinstance(event, Mail | Chunk)]


def test_a_chunk_of_unknown_size_ends_the_session() -> None:
    driver = Driver()
    assert driver.feed(TO_RCPT + b"BDAT x LAST\r\nRSET\r\n")[-1] == 501
    assert driver.session.is_closing
    assert driver.violations[-1].resets


def test_end_of_file_in_a_message_is_no_end_of_message() -> None:
    driver = Driver(answer=accept)
    driver.feed(TO_DATA + b"x\r\n.")
    driver.session.receive_eof()
    driver.pump()
    assert not [event for event in driver.events if isinstance(event, MessageEnd)]
