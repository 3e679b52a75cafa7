"""What our own side answers to an event, moved into a `Dialog` and onto the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from relevo.smtp.dialog import COUNTED_CODES
from relevo.smtp.events import (
    Auth,
    AuthResponse,
    BodyStart,
    BodyType,
    Chunk,
    Event,
    Hello,
    Mail,
    MessageEnd,
    Quit,
    Rcpt,
    Reset,
    StartTls,
    Violation,
    XClient,
)
from relevo.smtp.extensions import capabilities
from relevo.smtp.framing import DataReader
from relevo.smtp.incoming import final_replies
from relevo.smtp.replies import Fixed, Reply, clean, render, render_lines
from relevo.smtp.states import Happening, Verb
from relevo.smtp.wishes import priority_reply

if TYPE_CHECKING:
    from relevo.smtp.dialog import Dialog

_DATA_GO: Final = render(
    Fixed.DATA_GO.value.code, Fixed.DATA_GO.value.enhanced, Fixed.DATA_GO.value.text
)


def greet(dialog: Dialog) -> None:
    """What a client hears first. Each connection has one, so it is not counted."""
    settings = dialog.settings
    protocol = "LMTP" if settings.is_lmtp else "ESMTP"
    text = f"{settings.hostname} {protocol} {settings.software}"
    dialog.output.append(render(220, "", text))


def take_question(dialog: Dialog) -> Event:
    """The event that waits for an answer, once; AssertionError when there is none."""
    event, dialog.awaiting = dialog.awaiting, None
    assert event is not None, "no event waits for an answer"
    assert not dialog.events, "the event was not taken from next_event yet"
    return event


def answer(dialog: Dialog, event: Event, reply: Reply) -> None:
    """2xx accepts and moves the state by NEXT, everything else refuses."""
    match event:
        case Mail():
            _answer_mail(dialog, event, reply)
        case Rcpt():
            _answer_rcpt(dialog, reply)
        case MessageEnd():
            answer_message(dialog, [reply] * final_replies(dialog))
        case Hello():
            _answer_hello(dialog, event, reply)
        case BodyStart():
            _refuse_body(dialog, reply)
        case StartTls():
            _answer_starttls(dialog, reply)
        case XClient():
            _answer_xclient(dialog, reply)
        case Auth() | AuthResponse():
            _answer_auth(dialog, reply)
        case Chunk() | Reset() | Quit() | Violation():
            raise AssertionError("not a question")
        case _ as unreachable:
            assert_never(unreachable)


def start_body(dialog: Dialog, event: BodyStart) -> None:
    """The message may come."""
    dialog.has_refused = False
    if event.is_bdat:
        dialog.move(Verb.BDAT)
        dialog.reading = dialog.chunks
    else:
        dialog.move(Verb.DATA)
        dialog.reading = DataReader(dialog.settings.max_size)
        dialog.settings.count_reply(354)
        dialog.output.append(_DATA_GO)


def answer_message(dialog: Dialog, replies: list[Reply]) -> None:
    """One reply, or with LMTP one a recipient; the transaction is over whatever they say."""
    dialog.end_body()
    for reply in replies:
        if reply.code < 300:
            dialog.idle_commands = 0
        dialog.say(reply)


def _answer_hello(dialog: Dialog, event: Hello, reply: Reply) -> None:
    if reply.code >= 300:
        dialog.say(Reply(reply.code, "", reply.text))
        return
    verb = Verb(event.verb)
    dialog.move(verb)
    dialog.hello_name = event.name
    first = f"{dialog.settings.hostname} {clean(reply.text)}".rstrip()
    if verb is Verb.HELO:
        dialog.say(Reply(reply.code, "", first))
        return
    dialog.is_esmtp = True
    offered = capabilities(
        dialog.settings,
        is_tls=dialog.is_tls,
        is_authenticated=dialog.is_authenticated,
        is_trusted=dialog.is_trusted,
    )
    dialog.settings.count_reply(reply.code)
    dialog.output.append(render_lines(reply.code, [first, *offered]))


def _answer_mail(dialog: Dialog, event: Mail, reply: Reply) -> None:
    if reply.code < 300:
        dialog.move(Verb.MAIL)
        dialog.is_binary = event.parameters.body is BodyType.BINARY_MIME
        if event.parameters.wishes.is_lowered:
            reply = priority_reply(event.parameters.wishes)
    else:
        dialog.has_refused = True
    dialog.say(reply)


def _answer_rcpt(dialog: Dialog, reply: Reply) -> None:
    if reply.code < 300:
        dialog.move(Verb.RCPT)
        dialog.accepted_recipients += 1
        dialog.say(reply)
        return
    dialog.has_refused = True
    if reply.code >= 500 and dialog.rejects_too_often():
        dialog.refuse(Verb.RCPT.value, Fixed.TOO_MANY_REJECTED.value, closes=True)
    else:
        dialog.say(reply)


def _refuse_body(dialog: Dialog, reply: Reply) -> None:
    chunks = dialog.chunks
    dialog.end_body()
    if chunks is None:
        dialog.say(reply)
    else:
        dialog.drop_chunk(chunks, reply)


def _answer_starttls(dialog: Dialog, reply: Reply) -> None:
    dialog.say(reply)
    if reply.code < 300:
        dialog.move(Verb.STARTTLS)
        dialog.buffer.clear()  # what was pipelined in clear is never run under TLS


def _answer_xclient(dialog: Dialog, reply: Reply) -> None:
    """The session is that of another client, and starts as its connection would."""
    if reply.code >= 300:
        dialog.say(reply)
        return
    dialog.move(Verb.XCLIENT)
    dialog.end_transaction()
    dialog.is_esmtp = dialog.is_trusted = False
    dialog.hello_name = ""
    dialog.errors = dialog.rejected_recipients = 0
    greet(dialog)


def _answer_auth(dialog: Dialog, reply: Reply) -> None:
    dialog.move(Happening.AUTH_END)
    if reply.code in COUNTED_CODES and dialog.errs_too_often():
        dialog.refuse(Verb.AUTH.value, Fixed.TOO_MANY_ERRORS.value, closes=True)
        return
    dialog.is_authenticated = reply.code < 300
    dialog.say(reply)
