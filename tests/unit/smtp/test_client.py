"""Dialogs of the client session with servers that keep to the rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relevo.smtp.client_events import (
    Authenticated,
    Challenge,
    ClientSettings,
    Failed,
    FailureKind,
    Greeted,
    HelloAccepted,
    Outgoing,
    OutgoingRecipient,
    Refused,
    Sent,
    ServerReply,
    Step,
    TlsReady,
)
from relevo.smtp.events import BodyType, MailParameters, Path
from relevo.smtp.outgoing_body import BareLineEnd
from unit.smtp.talk import CHUNKING, CLIENT, EHLO, PLAIN, Talk, outgoing, steps


def test_greeting_and_hello() -> None:
    talk = Talk()
    assert talk.waits_for() is Step.GREETING
    assert talk.hear(b"220-mx.test\r\n220 hello\r\n") == [
        Greeted(ServerReply(220, "", ("mx.test", "hello")))
    ]
    assert talk.waits_for() is None
    talk.client.hello()
    assert talk.said() == b"EHLO cli.test\r\n"
    (accepted,) = talk.hear(b"250-mx.test\r\n250-Size 100\r\n250-\r\n250 AUTH PLAIN LOGIN\r\n")
    assert isinstance(accepted, HelloAccepted)
    assert talk.client.extensions == {"SIZE": "100", "AUTH": "PLAIN LOGIN"}


def test_helo_where_ehlo_is_unknown() -> None:
    talk = Talk()
    talk.hear(b"220 mx\r\n")
    talk.client.hello()
    talk.said()
    assert talk.hear(b"500 what?\r\n") == []
    assert talk.said() == b"HELO cli.test\r\n"
    (accepted,) = talk.hear(b"250-mx\r\n250 SIZE 1\r\n")
    assert isinstance(accepted, HelloAccepted)
    assert talk.client.extensions == {}
    talk.client.hello()
    talk.hear(b"500 what?\r\n")
    assert talk.hear(b"550 no\r\n") == [Refused(Step.HELLO, ServerReply(550, "", ("no",)))]


def test_lmtp_does_not_fall_back_to_helo() -> None:
    talk = Talk(ClientSettings(hello_name="c", is_lmtp=True))
    talk.hear(b"220 mx\r\n")
    talk.client.hello()
    assert talk.said() == b"LHLO c\r\n"
    assert isinstance(talk.hear(b"500 no\r\n")[0], Refused)


@pytest.mark.parametrize("code", [421, 554])
def test_a_refused_greeting(code: int) -> None:
    talk = Talk()
    (refused,) = talk.hear(b"%d 5.7.1 go away\r\n" % code)
    assert isinstance(refused, Refused)
    assert (refused.step, refused.reply.code) == (Step.GREETING, code)
    assert talk.client.is_closing is (code == 421)


def test_an_enhanced_code_is_taken_from_each_line() -> None:
    talk = Talk()
    (refused,) = talk.hear(b"554-5.7.1 go\r\n554-away\r\n554 5.7.1  now\r\n")
    assert isinstance(refused, Refused)
    assert refused.reply == ServerReply(554, "5.7.1", ("go", "away", "now"))
    assert refused.reply.text == "go away now"
    (refused,) = Talk().hear(b"554 2.0.0 contradicts\r\n")
    assert isinstance(refused, Refused)
    assert refused.reply.enhanced == ""


def test_a_transaction_in_one_flight() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c", "e f"))
    assert talk.said() == (
        b'MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<"e f"@d.test>\r\nDATA\r\n'
    )
    assert talk.waits_for() is Step.MAIL
    assert talk.hear(b"250 ok\r\n250 ok\r\n550 5.1.1 unknown\r\n354 go\r\n") == []
    assert talk.said() == b"A: b\r\n\r\n..x\r\n.\r\n"
    assert talk.waits_for() is Step.END
    assert steps(talk.hear(b"250 2.0.0 queued\r\n")) == [(Step.END, 250), (Step.RCPT, 550)]
    sent = talk.events[-1]
    assert isinstance(sent, Sent)
    assert [result.is_accepted for result in sent.results] == [True, False]
    assert sent.results[1].reply.enhanced == "5.1.1"
    talk.client.send(outgoing("c"))
    assert talk.said().startswith(b"MAIL "), "the end of the message left nothing to reset"


def test_without_pipelining_one_command_at_a_time() -> None:
    talk = Talk(CLIENT, *PLAIN)
    talk.client.send(outgoing("c", "e"))
    for octets, reply in (
        (b"MAIL FROM:<a@b.test>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<c@d.test>\r\n", b"450 later\r\n"),
        (b"RCPT TO:<e@d.test>\r\n", b"250 ok\r\n"),
        (b"DATA\r\n", b"354 go\r\n"),
    ):
        assert talk.said() == octets
        assert talk.hear(reply) == []
    assert talk.said().endswith(b"\r\n.\r\n")
    assert steps(talk.hear(b"554 no\r\n")) == [(Step.RCPT, 450), (Step.END, 554)]


def test_without_pipelining_a_refused_mail_ends_it() -> None:
    talk = Talk(CLIENT, *PLAIN)
    talk.client.send(outgoing("c", "e"))
    assert steps(talk.hear(b"451 later\r\n")) == [(Step.MAIL, 451)] * 2
    assert talk.said() == b"MAIL FROM:<a@b.test>\r\n"
    talk.client.send(outgoing("c"))
    assert talk.said() == b"MAIL FROM:<a@b.test>\r\n", "no RSET: nothing is open"


def test_without_pipelining_no_data_without_recipients() -> None:
    talk = Talk(CLIENT, *PLAIN)
    talk.client.send(outgoing("c"))
    talk.said()
    talk.hear(b"250 ok\r\n")
    talk.said()
    assert steps(talk.hear(b"550 no\r\n")) == [(Step.RCPT, 550)]
    assert talk.said() == b""
    talk.client.send(outgoing("c"))
    assert talk.said() == b"RSET\r\n", "the reverse-path of the last one is still there"
    talk.hear(b"250 ok\r\n")
    assert talk.said() == b"MAIL FROM:<a@b.test>\r\n"


def test_a_refused_mail_in_a_flight() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c"))
    talk.said()
    assert steps(talk.hear(b"550 5.7.1 no\r\n503 what\r\n503 what\r\n")) == [(Step.MAIL, 550)]


def test_a_refused_data() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c", "e"))
    talk.said()
    events = talk.hear(b"250 ok\r\n250 ok\r\n550 no\r\n451 later\r\n")
    assert steps(events) == [(Step.DATA, 451), (Step.RCPT, 550)]


def test_data_taken_without_recipients_is_ended_at_once() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c"))
    talk.said()
    talk.hear(b"250 ok\r\n550 no\r\n354 go\r\n")
    assert talk.said() == b".\r\n"
    assert steps(talk.hear(b"250 sure\r\n")) == [(Step.RCPT, 550)]


def test_lmtp_has_a_result_for_each_recipient() -> None:
    settings = ClientSettings(hello_name="c", is_lmtp=True)
    talk = Talk(settings, *EHLO)
    talk.client.send(outgoing("c", "e", "f"))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    talk.said()
    assert talk.hear(b"250 first\r\n") == []
    assert steps(talk.hear(b"452 full\r\n")) == [
        (Step.END, 250), (Step.RCPT, 550), (Step.END, 452),
    ]  # fmt: skip


def test_chunks_are_sent_when_a_recipient_was_accepted() -> None:
    talk = Talk(ClientSettings(hello_name="c", uses_chunking=True), *CHUNKING)
    block = (b"x" * 78 + b"\r\n") * 1000
    talk.client.send(outgoing("c", body=(block, b".y\r\n")))
    assert talk.said() == b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
    talk.hear(b"250 ok\r\n250 ok\r\n")
    assert talk.said() == b"BDAT 80000\r\n" + block + b"BDAT 4 LAST\r\n.y\r\n"
    assert steps(talk.hear(b"250 ok\r\n250 queued\r\n")) == [(Step.END, 250)]


def test_no_chunks_without_recipients() -> None:
    talk = Talk(ClientSettings(hello_name="c", uses_chunking=True), *CHUNKING)
    talk.client.send(outgoing("c"))
    talk.said()
    assert steps(talk.hear(b"250 ok\r\n550 no\r\n")) == [(Step.RCPT, 550)]
    assert talk.said() == b""


@pytest.mark.parametrize("is_lmtp", [False, True])
def test_a_refused_chunk(is_lmtp: bool) -> None:
    talk = Talk(ClientSettings(hello_name="c", is_lmtp=is_lmtp, uses_chunking=True), *CHUNKING)
    talk.client.send(outgoing("c", "e", body=(b"x\r\n" * 30_000, b"y\r\n")))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n250 ok\r\n")
    talk.said()
    assert steps(talk.hear(b"552 full\r\n503 no\r\n")) == [(Step.CHUNK, 552)] * 2
    assert not talk.client.is_closing


def test_a_chunk_refused_before_the_last_was_sent() -> None:
    talk = Talk(ClientSettings(hello_name="c", uses_chunking=True), *CHUNKING)
    talk.client.send(outgoing("c", body=(b"x\r\n" * 30_000, b"y\r\n" * 30_000, b"z\r\n")))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n")
    assert talk.client.take_output().startswith(b"BDAT 90000\r\n")
    assert steps(talk.hear(b"452 full\r\n")) == [(Step.CHUNK, 452)]
    assert talk.said() == b""
    talk.client.send(outgoing("c"))
    assert talk.said().startswith(b"RSET\r\nMAIL ")


def test_a_binary_body_needs_binarymime() -> None:
    binary = Outgoing(
        Path("", ""),
        (OutgoingRecipient(Path("c", "d.test")),),
        (b"\n\r",),
        MailParameters(body=BodyType.BINARY_MIME),
    )
    with pytest.raises(ValueError, match="BINARYMIME"):
        Talk(CLIENT, *EHLO).client.send(binary)
    talk = Talk(CLIENT, *CHUNKING)
    talk.client.send(binary)
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n")
    assert talk.said() == b"BDAT 2 LAST\r\n\n\r"


@pytest.mark.parametrize(
    "body", [(b"a\nb",), (b"a\r", b"b"), (b"a\r",), (b"a\r\r\n",), (b"\n.\r\n",)], ids=repr
)
def test_no_bare_line_end_ever_leaves(body: tuple[bytes, ...]) -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.send(outgoing("c", body=body))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    with pytest.raises(BareLineEnd):
        talk.said()
    assert talk.client.is_closing
    assert talk.client.take_output() == b"", "no end mark: the server drops it"


def test_a_body_that_cannot_be_read_ends_the_session() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 70_000
        raise OSError("disk")

    talk = Talk(CLIENT, *EHLO)
    to = (OutgoingRecipient(Path("c", "d.test")),)
    talk.client.send(Outgoing(Path("", ""), to, broken()))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert len(talk.client.take_output()) == 70_000
    with pytest.raises(OSError, match="disk"):
        talk.client.take_output()
    assert talk.client.is_closing


def test_a_body_is_pulled_piece_by_piece() -> None:
    pulled = []

    def body() -> Iterator[bytes]:
        for number in range(10):
            pulled.append(number)
            yield b"x" * 65_536

    talk = Talk(CLIENT, *EHLO)
    to = (OutgoingRecipient(Path("c", "d.test")),)
    talk.client.send(Outgoing(Path("", ""), to, body()))
    talk.said()
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert len(talk.client.take_output()) == 65_536
    assert pulled == [0]


def test_starttls() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.starttls()
    assert talk.said() == b"STARTTLS\r\n"
    assert talk.hear(b"220 go\r\n") == [TlsReady()]
    talk.client.tls_started()
    assert talk.client.is_tls
    assert talk.client.extensions == {}, "nothing said in clear is believed"
    talk.client.hello()
    assert talk.said() == b"EHLO cli.test\r\n"


@pytest.mark.parametrize("late", [False, True])
def test_octets_in_clear_behind_the_220_to_starttls(late: bool) -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.starttls()
    injected = b"250-mx\r\n250 AUTH PLAIN\r\n"
    events = talk.hear(b"220 go\r\n") + talk.hear(injected) if late else talk.hear(
        b"220 go\r\n" + injected
    )  # fmt: skip
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.OCTETS_BEFORE_TLS
    assert talk.client.is_closing


def test_starttls_refused() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.starttls()
    assert talk.hear(b"454 not now\r\n") == [
        Refused(Step.STARTTLS, ServerReply(454, "", ("not now",)))
    ]
    assert not talk.client.is_closing


def test_auth() -> None:
    talk = Talk(CLIENT, *EHLO)
    talk.client.auth_plain("u", "p")
    assert talk.said() == b"AUTH PLAIN AHUAcA==\r\n"
    (done,) = talk.hear(b"235 2.7.0 in\r\n")
    assert isinstance(done, Authenticated)
    talk.client.auth("LOGIN")
    assert talk.said() == b"AUTH LOGIN\r\n"
    assert talk.hear(b"334 VXNlcm5hbWU6\r\n") == [Challenge(b"Username:")]
    talk.client.auth_respond(b"u")
    assert talk.said() == b"dQ==\r\n"
    assert talk.hear(b"334 \r\n") == [Challenge(b"")]
    talk.client.auth_cancel()
    assert talk.said() == b"*\r\n"
    assert isinstance(talk.hear(b"501 5.7.0 cancelled\r\n")[0], Refused)
    talk.client.auth("EXTERNAL", b"")
    assert talk.said() == b"AUTH EXTERNAL =\r\n"
    (failed,) = talk.hear(b"334 ???\r\n")
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.MALFORMED_REPLY


BDAT_CLIENT = ClientSettings(hello_name="cli.test", uses_chunking=True)


def sized(*users: str, body: bytes = b"A: b\r\n\r\n.x\r\n") -> Outgoing:
    recipients = tuple(OutgoingRecipient(Path(user, "d.test")) for user in users)
    return Outgoing(Path("a", "b.test"), recipients, [body], MailParameters(size=len(body)))


def test_a_small_message_goes_in_the_flight_of_its_envelope() -> None:
    talk = Talk(BDAT_CLIENT, *CHUNKING)
    talk.client.send(sized("c", "e"))
    assert talk.said() == (
        b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<e@d.test>\r\n"
        b"BDAT 12 LAST\r\nA: b\r\n\r\n.x\r\n"
    )
    replies = b"250 ok\r\n250 ok\r\n550 5.1.1 unknown\r\n250 2.0.0 queued\r\n"
    assert steps(talk.hear(replies)) == [(Step.END, 250), (Step.RCPT, 550)]
    talk.client.send(sized("c"))
    assert talk.said().startswith(b"MAIL "), "the end of the message left nothing to reset"


def test_a_small_message_that_nobody_wants_is_reset() -> None:
    talk = Talk(BDAT_CLIENT, *CHUNKING)
    talk.client.send(sized("c"))
    talk.said()
    replies = b"250 ok\r\n550 5.1.1 unknown\r\n503 5.5.1 no recipients\r\n"
    assert steps(talk.hear(replies)) == [(Step.RCPT, 550)]
    talk.client.send(sized("c"))
    assert talk.said().startswith(b"RSET\r\nMAIL "), "RFC 3030: only RSET is sure to end it"
    replies = b"250 reset\r\n452 4.3.1 full\r\n503 no\r\n503 no\r\n"
    assert steps(talk.hear(replies)) == [(Step.MAIL, 452)]


def test_a_server_that_takes_a_message_for_nobody() -> None:
    talk = Talk(BDAT_CLIENT, *CHUNKING)
    talk.client.send(sized("c"))
    talk.said()
    assert steps(talk.hear(b"250 ok\r\n550 no\r\n250 taken\r\n")) == [(Step.RCPT, 550)]


@pytest.mark.parametrize(
    "message", [outgoing("c"), sized("c", body=b"x" * 65535 + b"\r\n")], ids=["no size", "large"]
)
def test_other_messages_wait_for_a_recipient(message: Outgoing) -> None:
    talk = Talk(BDAT_CLIENT, *CHUNKING)
    talk.client.send(message)
    assert talk.said() == b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
    before = talk.client.is_sending_body
    talk.hear(b"250 ok\r\n250 ok\r\n")
    assert (before, talk.client.is_sending_body) == (False, True)
    assert talk.said().startswith(b"BDAT ")


def test_421_in_the_flight_of_a_small_message() -> None:
    talk = Talk(BDAT_CLIENT, *CHUNKING)
    talk.client.send(sized("c", "e"))
    talk.said()
    assert steps(talk.hear(b"250 ok\r\n250 ok\r\n421 4.3.2 going\r\n")) == [
        (Step.RCPT, 421),
        (Step.RCPT, 421),
    ]
    assert talk.client.is_closing


def test_lmtp_waits_for_its_recipients() -> None:
    settings = ClientSettings(hello_name="c", is_lmtp=True, uses_chunking=True)
    talk = Talk(settings, *CHUNKING)
    talk.client.send(sized("c"))
    assert talk.said() == b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


def test_requiretls_is_passed_on_where_it_is_offered() -> None:
    for offered, is_sent in ((b"250 REQUIRETLS\r\n", True), (b"250 X\r\n", False)):
        talk = Talk(CLIENT, b"220 mx\r\n", b"250-mx\r\n" + offered)
        recipients = (OutgoingRecipient(Path("c", "d.test")),)
        parameters = MailParameters(requiretls=True)
        talk.client.send(Outgoing(Path("a", "b.test"), recipients, [b"x\r\n"], parameters))
        assert (b" REQUIRETLS\r\n" in talk.said()) is is_sent
