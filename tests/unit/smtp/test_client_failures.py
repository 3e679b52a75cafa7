"""The client session with servers that refuse, lie, send garbage or go away."""

from __future__ import annotations

import pytest

from relevo.smtp.client_events import (
    ClientSettings,
    Failed,
    FailureKind,
    Finished,
    Greeted,
    RecipientResult,
    Refused,
    ServerReply,
    Step,
)
from unit.smtp.talk import CLIENT, EHLO, Talk, outgoing, steps


def test_quit() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.quit()
    assert talk.said() == b"QUIT\r\n"
    assert talk.hear(b"221 bye\r\n") == [Finished()]
    assert talk.client.is_closing
    talk = Talk(CLIENT, *EHLO)
    talk.client.quit()
    talk.client.receive_eof()
    assert talk.drain() == [Finished()], "nobody needs the 221"


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        pytest.param(b"hello\r\n", FailureKind.MALFORMED_REPLY, id="no code"),
        pytest.param(b"\r\n", FailureKind.MALFORMED_REPLY, id="empty line"),
        pytest.param(b"22O mx\r\n", FailureKind.MALFORMED_REPLY, id="letter in the code"),
        pytest.param(b"120 wait\r\n", FailureKind.MALFORMED_REPLY, id="1xx"),
        pytest.param(b"620 mx\r\n", FailureKind.MALFORMED_REPLY, id="6xx"),
        pytest.param(b"220mx\r\n", FailureKind.MALFORMED_REPLY, id="no separator"),
        pytest.param(b"220-a\r\n250 b\r\n", FailureKind.MALFORMED_REPLY, id="two codes"),
        pytest.param(b"\xff\0\x16\x03\n", FailureKind.MALFORMED_REPLY, id="garbage"),
        pytest.param(b"220 " + b"x" * 4091 + b"\r\n", FailureKind.REPLY_TOO_LONG, id="long line"),
        pytest.param(b"2" * 4097, FailureKind.REPLY_TOO_LONG, id="endless line"),
        pytest.param(b"220-x\r\n" * 101, FailureKind.REPLY_TOO_LONG, id="endless reply"),
        pytest.param(b"354 go\r\n", FailureKind.UNEXPECTED_REPLY, id="3xx greeting"),
        pytest.param(b"220 a\r\n220 b\r\n", FailureKind.UNEXPECTED_REPLY, id="reply unasked"),
        pytest.param(b"220 a\r\n421 bye\r\n", FailureKind.CLOSED, id="421 unasked"),
    ],
)
@pytest.mark.parametrize("step", [1, 10_000])
def test_broken_servers_end_in_one_classified_failure(
    octets: bytes, kind: FailureKind, step: int
) -> None:
    talk = Talk()
    for index in range(0, len(octets), step):
        talk.hear(octets[index : index + step])
    failures = [event for event in talk.events if isinstance(event, Failed)]
    assert [failure.kind for failure in failures] == [kind]
    assert talk.client.is_closing
    assert talk.client.buffered == 0
    assert talk.hear(b"220 late\r\n") == []


def test_the_longest_reply_that_is_taken() -> None:
    line = b"220-" + b"x" * 4090 + b"\r\n"
    (greeted,) = Talk().hear(line * 99 + b"220\n")
    assert isinstance(greeted, Greeted)
    assert len(greeted.reply.lines) == 100


def test_control_characters_of_a_server_are_dropped() -> None:
    (greeted,) = Talk().hear(b"220 a\x1b[31m\0b\xff\r\n")
    assert greeted == Greeted(ServerReply(220, "", ("a[31mb\ufffd",)))


@pytest.mark.parametrize("replies", [b"250 ok\r\n250 ok\r\n250 no need\r\n", b"354 go\r\n"])
def test_a_positive_reply_of_the_wrong_kind(replies: bytes) -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c"))
    talk.said()
    (failed,) = talk.hear(replies)
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.UNEXPECTED_REPLY
    assert failed.results == (None,)


def test_250_before_the_message_was_sent_is_no_delivery() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c", body=(b"x" * 70_000,) * 2))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.client.take_output()
    (failed,) = talk.hear(b"250 queued\r\n")
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.UNEXPECTED_REPLY


def test_a_server_that_gives_up_in_the_middle_of_the_message() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c", body=(b"x" * 70_000,) * 2))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.client.take_output()
    assert steps(talk.hear(b"552 5.3.4 too large\r\n")) == [(Step.END, 552)]
    assert talk.client.is_closing
    assert talk.said() == b""


def test_421_settles_what_is_open_and_ends_the_session() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c", "e"))
    talk.said()
    events = talk.hear(b"250 ok\r\n550 no\r\n421 stopping\r\n")
    assert steps(events) == [(Step.RCPT, 550), (Step.RCPT, 421)]
    assert talk.client.is_closing


def test_a_refused_rset_ends_the_session() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c"))
    talk.hear(b"250 ok\r\n550 no\r\n554 no recipients\r\n")
    talk.client.send(outgoing("c"))
    assert talk.said().endswith(
        b"DATA\r\nRSET\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
    )
    (failed,) = talk.hear(b"500 what\r\n")
    assert isinstance(failed, Failed)
    assert failed.results == (None,)


def test_end_of_file_keeps_what_was_decided() -> None:
    talk = Talk(ClientSettings(hello_name="c", is_lmtp=True), *EHLO)
    talk.client.send(outgoing("c", "e", "f"))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    talk.said()
    talk.client.receive(b"250 delivered\r\n45")
    talk.client.receive_eof()
    (failed,) = talk.drain()
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.CLOSED
    assert failed.results == (
        RecipientResult(Step.END, ServerReply(250, "", ("delivered",))),
        RecipientResult(Step.RCPT, ServerReply(550, "", ("no",))),
        None,
    )


def test_end_of_file_behind_a_whole_reply() -> None:
    talk = Talk()
    talk.client.receive(b"554 no\r\n")
    talk.client.receive_eof()
    refused, failed = talk.drain()
    assert isinstance(refused, Refused)
    assert isinstance(failed, Failed)


def test_end_of_file_twice_is_one_failure() -> None:
    talk = Talk()
    talk.client.receive_eof()
    talk.client.receive_eof()
    assert len(talk.drain()) == 1


def test_replies_know_their_class() -> None:
    assert ServerReply(250, "", ()).is_positive
    assert ServerReply(450, "", ()).is_temporary
    assert not ServerReply(550, "", ()).is_temporary
