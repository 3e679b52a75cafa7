"""A unit's message for a server that offers what it offers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from relevo.delivery.attempt import Result
from relevo.delivery.letter import Letter
from relevo.delivery.link_values import Transacted
from relevo.journal import Outcome
from relevo.outbound.letter import judge, prepare
from relevo.queue.store import (
    Envelope,
    MemoryContent,
    MessageId,
    QueuedRecipient,
    TargetKind,
    Unit,
)
from relevo.smtp.client_events import RecipientResult, ServerReply, Step
from relevo.smtp.events import BodyType, Notify, Ret
from unit.delivery.loops import Runner

ALL = dict.fromkeys(("8BITMIME", "SMTPUTF8", "DSN", "PIPELINING", "CHUNKING", "BINARYMIME"), "")
PLAIN: dict[str, str] = {}
TEXT = b"Subject: x\r\n\r\nhello\r\n"
EIGHT_BIT = "Subject: x\r\n\r\nGrüße\r\n".encode()


def unit(
    content: bytes = TEXT, envelope: Envelope | None = None, *targets: QueuedRecipient | str
) -> Unit:
    recipients = tuple(
        QueuedRecipient(TargetKind.MAIL, each, each) if isinstance(each, str) else each
        for each in targets or ("c@d.test",)
    )
    envelope = envelope or Envelope("a@b.test")
    data = MemoryContent(content)
    return Unit(MessageId("id"), "mx:d.test", 0, 0.0, 0, envelope, recipients, data)


def letter(run: Runner, unit: Unit, extensions: Mapping[str, str]) -> Letter:
    return run(prepare(unit, unit.recipients, extensions))


def refused(letter: Letter) -> list[str]:
    """The status of each that is refused, "" for one that is not."""
    return [result.status if result else "" for result in letter.refused]


def test_everything_is_passed_on_to_who_takes_it(run: Runner) -> None:
    envelope = Envelope("ä@b.test", body="8BITMIME", smtputf8=True, ret="HDRS", envid="e=1")
    told = QueuedRecipient(
        TargetKind.MAIL, "ö@d.test", "x", notify=("SUCCESS", "DELAY"), orcpt="rfc822;o@d.test"
    )
    made = letter(run, unit(EIGHT_BIT, envelope, told), ALL)
    assert made.outgoing is not None
    parameters = made.outgoing.parameters
    assert (parameters.size, parameters.body) == (len(EIGHT_BIT), BodyType.EIGHT_BIT_MIME)
    assert (parameters.smtputf8, parameters.ret, parameters.envid) == (True, Ret.HEADERS, "e=1")
    (recipient,) = made.outgoing.recipients
    assert recipient.parameters.notify == {Notify.SUCCESS, Notify.DELAY}
    assert recipient.parameters.orcpt == "rfc822;o@d.test"
    assert b"".join(made.outgoing.body) == EIGHT_BIT


@pytest.mark.parametrize(
    ("offered", "is_refused"),
    [("19", True), ("21", False), ("0", False), ("", False), ("x", False), ("5 7", True)],
)
def test_size(run: Runner, offered: str, is_refused: bool) -> None:
    made = letter(run, unit(), ALL | {"SIZE": offered})
    assert refused(made) == ["5.3.4" if is_refused else ""]


def test_smtputf8(run: Runner) -> None:
    utf8 = Envelope("a@b.test", smtputf8=True)
    header = "Subject: ü\r\n\r\nx\r\n".encode()
    takes_no_utf8 = {"8BITMIME": ""}
    assert refused(letter(run, unit(header, utf8), takes_no_utf8)) == ["5.6.7"]
    assert refused(letter(run, unit(TEXT, Envelope("ä@b.test", smtputf8=True)), PLAIN)) == ["5.6.7"]
    made = letter(run, unit(TEXT, utf8, "ö@d.test", "o@dö.test", "o@d.test"), PLAIN)
    assert refused(made) == ["5.6.7", "", ""]
    assert made.outgoing is not None
    assert [each.path.domain for each in made.outgoing.recipients] == ["xn--d-1ga.test", "d.test"]
    assert not made.outgoing.parameters.smtputf8
    made = letter(run, unit(TEXT, utf8), ALL)
    assert made.outgoing is not None
    assert not made.outgoing.parameters.smtputf8, "nothing in it needs that"


def test_eight_bit_for_a_server_that_takes_seven(run: Runner) -> None:
    made = letter(run, unit(EIGHT_BIT), PLAIN)
    assert made.outgoing is not None
    body = b"".join(made.outgoing.body)
    assert body.endswith(b"quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n")
    assert (made.outgoing.parameters.body, made.outgoing.parameters.size) == (None, len(body))
    signed = b'Content-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n\xfc\r\n--b--\r\n'
    made = letter(run, unit(signed), PLAIN)
    assert refused(made) == ["5.6.3"]
    assert made.outgoing is None


def test_binary(run: Runner) -> None:
    envelope = Envelope("a@b.test", body="BINARYMIME")
    content = b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n"
    made = letter(run, unit(content, envelope), ALL)
    assert made.outgoing is not None
    assert made.outgoing.parameters.body is BodyType.BINARY_MIME
    for extensions in (PLAIN, {"8BITMIME": ""}):
        made = letter(run, unit(content, envelope), extensions)
        assert made.outgoing is not None
        assert b"base64" in b"".join(made.outgoing.body)


def test_requiretls(run: Runner) -> None:
    message = unit(TEXT, Envelope("a@b.test", requires_tls=True))
    assert refused(letter(run, message, ALL)) == ["5.7.30"]
    made = letter(run, message, ALL | {"REQUIRETLS": ""})
    assert made.outgoing is not None
    assert made.outgoing.parameters.requiretls


def test_what_answers_mean() -> None:
    replies = [
        (Step.END, ServerReply(250, "2.6.0", ("ok",))),
        (Step.END, ServerReply(250, "", ("ok",))),
        (Step.RCPT, ServerReply(550, "5.1.1", ("unknown",))),
        (Step.RCPT, ServerReply(552, "", ("full",))),
        (Step.END, ServerReply(451, "4.3.0", ("later",))),
        (Step.RCPT, ServerReply(250, "2.1.5", ("not the end",))),
    ]
    results = [RecipientResult(step, reply) for step, reply in replies]
    judged = judge(Transacted((*results, None), "cut"), "mx.d.test")
    assert [(each.outcome, each.status) for each in judged] == [
        (Outcome.DELIVERED, "2.6.0"),
        (Outcome.DELIVERED, "2.0.0"),
        (Outcome.PERMANENT, "5.1.1"),
        (Outcome.PERMANENT, "5.0.0"),
        (Outcome.TEMPORARY, "4.3.0"),
        (Outcome.TEMPORARY, "4.0.0"),
        (Outcome.TEMPORARY, "4.4.2"),
    ]
    assert judged[2] == Result(Outcome.PERMANENT, "5.1.1", "mx.d.test said: 550 5.1.1 unknown")
