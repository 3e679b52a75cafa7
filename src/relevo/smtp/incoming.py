"""What the client sends: lines, commands and octets of a message, moved into a `Dialog`.

Lines and commands: RFC 5321 §4.1, §4.3; AUTH: RFC 4954 §4; BDAT: RFC 3030 §2. Each reader returns
whether it got anywhere; False: more octets are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, assert_never

from relevo.smtp import commands
from relevo.smtp.dialog import Dialog
from relevo.smtp.events import AuthResponse, BodyStart, Chunk, Mail, MessageEnd, Quit, StartTls
from relevo.smtp.framing import ChunkReader, DataReader, Status
from relevo.smtp.grammar import base64
from relevo.smtp.replies import Fixed, Reply
from relevo.smtp.states import IN_TRANSACTION, Happening, State, Verb
from relevo.smtp.wishes import NO_WISHES, lowered
from relevo.smtp.xclient import parse_xclient

_Handler = Callable[[Dialog, Verb, bytes], None]

MAX_COMMAND: Final = 4096  # octets without CRLF
MAX_AUTH_LINE: Final = 12288  # RFC 4954 §4
MAX_DRAINED: Final = 65536  # a line longer than this closes the session

# Reading a member from its class costs 0.12 µs in Python 3.11, for each line several times.
_AUTH: Final = State.AUTH
_BDAT: Final = State.BDAT
_OPEN: Final = Status.OPEN

_HTTP: Final = frozenset({b"GET", b"POST", b"CONNECT"})
_OF_A_MESSAGE: Final = frozenset({Verb.RCPT, Verb.DATA, Verb.BDAT})
_NOT_BETWEEN_CHUNKS: Final = frozenset(
    {Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.AUTH, Verb.STARTTLS, Verb.XCLIENT}
)


def read_line(dialog: Dialog) -> bool:
    """Run one line: a command, or the answer to an AUTH challenge."""
    line = dialog.buffer.take_line()
    received = len(dialog.buffer) if line is None else len(line) - 1  # a LF is not counted
    if received > MAX_DRAINED:
        verb = _label(line or dialog.buffer.take(32), dialog)
        dialog.violate(verb, Fixed.COMMAND_TOO_LONG, closes=True)
        return True
    if line is None:
        return False
    length = len(line) - 2
    if length < 0 or line.find(b"\r") != length:
        dialog.violate(_label(line, dialog), Fixed.COMMAND_LINE_END, closes=True)
        return True
    line = line[:-2]
    if length > MAX_COMMAND and length > _limit(line, dialog):
        verb = _label(line, dialog)
        if dialog.state is State.AUTH:
            dialog.move(Happening.AUTH_END)
        dialog.violate(verb, Fixed.COMMAND_TOO_LONG)
    elif dialog.state is _AUTH:
        _continue_auth(dialog, line)
    else:
        _run(dialog, line)
    return True


def read_body(dialog: Dialog, reader: DataReader | ChunkReader) -> bool:
    """Take the octets of a message that are there."""
    was_oversize = reader.is_oversize
    data, status = reader.read(dialog.buffer)
    if reader.is_oversize and not was_oversize:
        dialog.reset()  # the shell need not hold what will be refused
    elif data:
        dialog.events.append(Chunk(data))
    if status is _OPEN:
        return bool(dialog.events)
    match status:
        case Status.BAD_LINE_END:
            verb = Verb.DATA if isinstance(reader, DataReader) else Verb.BDAT
            dialog.violate(
                verb.value, Fixed.BODY_LINE_END, resets=not reader.is_oversize, closes=True
            )
        case Status.COMPLETE:
            dialog.reading = None
            if isinstance(reader, DataReader):
                _end_data(dialog, reader)
            else:
                _end_chunk(dialog, reader)
        case _ as unreachable:
            assert_never(unreachable)
    return True


def final_replies(dialog: Dialog) -> int:
    """How many replies end a message (RFC 2033 §4.2)."""
    return dialog.accepted_recipients if dialog.settings.is_lmtp else 1


def _end_data(dialog: Dialog, reader: DataReader) -> None:
    if not reader.is_oversize:
        dialog.ask(MessageEnd(reader.wire_size))
        return
    times = final_replies(dialog)
    dialog.end_body()
    dialog.refuse(Verb.DATA.value, Fixed.MESSAGE_TOO_LARGE.value, times=times)


def _end_chunk(dialog: Dialog, chunks: ChunkReader) -> None:
    refusal, dialog.chunk_refusal = dialog.chunk_refusal, None
    match refusal:
        case None if chunks.is_last:
            dialog.ask(MessageEnd(chunks.wire_size))
        case None:
            dialog.say(Fixed.CHUNK_TAKEN.value)
        case Reply():
            dialog.say(refusal)  # what the shell answered to the first BDAT
        case Fixed():
            dialog.violate(Verb.BDAT.value, refusal)
        case _ as unreachable:
            assert_never(unreachable)


def _limit(line: bytes, dialog: Dialog) -> int:
    is_auth = dialog.state is State.AUTH or line[:5].upper() == b"AUTH "
    return MAX_AUTH_LINE if is_auth else MAX_COMMAND


def _label(line: bytes, dialog: Dialog) -> str:
    """The verb of a line in a form that is safe to log."""
    if dialog.state is State.AUTH:
        return Verb.AUTH.value  # a line of the exchange may be a secret
    word = line.split(b" ", 1)[0].rstrip(b"\r\n").upper()
    if word in _COMMANDS:
        return word.decode()
    text = word[:6].decode("ascii", errors="replace")
    safe = "".join(char if char.isascii() and char.isalnum() else "?" for char in text)
    return f'unknown<"{safe}">'


def _run(dialog: Dialog, line: bytes) -> None:
    word, _, argument = line.partition(b" ")
    word = word.upper()
    dialog.settings.count_command(word)
    found = _COMMANDS.get(word)
    if found is None:
        _refuse_unknown(dialog, line)
        return
    verb, handler = found
    if verb not in _OF_A_MESSAGE:
        dialog.idle_commands += 1
        if dialog.idle_commands > dialog.settings.max_idle_commands:
            dialog.violate(verb.value, Fixed.TOO_MANY_COMMANDS, closes=True)
            return
    if dialog.state is _BDAT and verb in _NOT_BETWEEN_CHUNKS:
        dialog.violate(verb.value, Fixed.BDAT_RUNNING)
        return
    handler(dialog, verb, argument)


def _refuse_unknown(dialog: Dialog, line: bytes) -> None:
    """A browser is sent away at once: what follows may be a request that carries mail."""
    is_http = line.split(b" ", 1)[0].upper() in _HTTP
    fixed = Fixed.HTTP_REFUSED if is_http else Fixed.COMMAND_UNKNOWN
    dialog.violate(_label(line, dialog), fixed, closes=is_http)


def _out_of_sequence(dialog: Dialog, verb: Verb) -> None:
    """503 with what is missing."""
    fixed = _missing(dialog)
    if not dialog.has_refused:
        dialog.violate(verb.value, fixed)
        return
    if verb is Verb.RCPT and dialog.rejects_too_often():
        dialog.refuse(verb.value, Fixed.TOO_MANY_REJECTED.value, closes=True)
        return
    dialog.has_refused = verb is not Verb.DATA  # DATA ends a pipelined transaction
    dialog.refuse(verb.value, fixed.value)


def _missing(dialog: Dialog) -> Fixed:
    match dialog.state:
        case State.GREETED:
            return Fixed.LHLO_NEEDED if dialog.settings.is_lmtp else Fixed.HELLO_NEEDED
        case State.MAIL:
            return Fixed.RCPT_NEEDED
        case _:
            return Fixed.MAIL_NEEDED


def _hello(dialog: Dialog, verb: Verb, argument: bytes) -> None:
    if (verb is Verb.LHLO) != dialog.settings.is_lmtp:
        dialog.violate(verb.value, Fixed.COMMAND_UNKNOWN)
        return
    event = commands.parse_hello(verb.value, argument)
    if isinstance(event, Fixed):
        dialog.violate(verb.value, event)
        return
    if dialog.state in IN_TRANSACTION:
        dialog.state = State.READY  # over even when the answer is no: the event says so
    dialog.end_transaction()
    dialog.ask(event)


def _mail(dialog: Dialog, verb: Verb, argument: bytes) -> None:
    # A refused MAIL ends the transaction before it: what was pipelined behind it must not run
    # under the old reverse-path.
    event = _parse_mail(dialog, argument)
    resets = dialog.state in IN_TRANSACTION
    if resets:
        dialog.state = State.READY
    dialog.end_transaction()
    if not isinstance(event, Fixed):
        dialog.ask(event)
        return
    dialog.has_refused = dialog.state is State.READY
    dialog.violate(verb.value, event, resets=resets)


def _parse_mail(dialog: Dialog, argument: bytes) -> Mail | Fixed:
    if argument[:5].upper() != b"FROM:":
        return Fixed.MAIL_NOT_FROM
    if dialog.settings.requires_auth and not dialog.is_authenticated:
        return Fixed.MAIL_NEEDS_AUTH
    if not argument[5:].strip(b" \t"):
        return Fixed.MAIL_EMPTY
    event = commands.parse_mail(argument, dialog.settings)
    if isinstance(event, Fixed):
        return event
    if not dialog.allows(Verb.MAIL):
        return _missing(dialog)
    if event.parameters.requiretls and not dialog.is_tls:
        return Fixed.PARAMETER_UNKNOWN
    if event.parameters.wishes is not NO_WISHES:
        return _with_wishes(dialog, event)
    return event


def _with_wishes(dialog: Dialog, event: Mail) -> Mail | Fixed:
    """As far as the client may have them."""
    wishes, is_user = event.parameters.wishes, dialog.is_authenticated
    holds = wishes.hold_for is not None or wishes.hold_until is not None
    if not (is_user or (dialog.is_trusted and not holds)):
        return Fixed.PARAMETER_UNKNOWN
    granted = lowered(wishes, may_raise=is_user)
    return Mail(event.path, replace(event.parameters, wishes=granted))


def _rcpt(dialog: Dialog, verb: Verb, argument: bytes) -> None:
    if argument[:3].upper() != b"TO:":
        dialog.violate(verb.value, Fixed.RCPT_NOT_TO)
    elif not dialog.allows(verb):
        _out_of_sequence(dialog, verb)
    elif not argument[3:].strip(b" \t"):
        dialog.violate(verb.value, Fixed.RCPT_EMPTY)
    elif dialog.accepted_recipients >= dialog.settings.max_recipients:
        dialog.violate(verb.value, Fixed.TOO_MANY_RECIPIENTS)
    else:
        event = commands.parse_rcpt(argument, dialog.settings)
        if not isinstance(event, Fixed):
            dialog.ask(event)
            return
        dialog.has_refused = True
        dialog.violate(verb.value, event)


def _data(dialog: Dialog, verb: Verb, _argument: bytes) -> None:
    if not dialog.allows(verb):
        _out_of_sequence(dialog, verb)
    elif dialog.is_binary:
        dialog.violate(verb.value, Fixed.DATA_AFTER_BINARYMIME)
    else:
        dialog.ask(BodyStart(is_bdat=False))


def _bdat(dialog: Dialog, verb: Verb, argument: bytes) -> None:
    size_and_last = commands.parse_bdat(argument)
    if size_and_last is None:
        # Where the next command starts cannot be known.
        dialog.violate(verb.value, Fixed.CHUNK_MALFORMED, closes=True)
        return
    is_first = dialog.chunks is None
    chunks = dialog.chunks or ChunkReader(dialog.settings.max_size, is_binary=dialog.is_binary)
    chunks.begin(size_and_last[0], is_last=size_and_last[1])
    if not dialog.settings.offers_chunking or not dialog.allows(verb):
        _refuse_chunk(dialog, chunks)
    elif chunks.is_oversize:
        dialog.end_body()
        dialog.reset()
        dialog.drop_chunk(chunks, Fixed.MESSAGE_TOO_LARGE)
    elif chunks.has_too_many_chunks:
        dialog.violate(verb.value, Fixed.TOO_MANY_CHUNKS, closes=True)
    elif is_first:
        dialog.chunks = chunks
        dialog.ask(BodyStart(is_bdat=True))
    else:
        dialog.reading = chunks


def _refuse_chunk(dialog: Dialog, chunks: ChunkReader) -> None:
    """A chunk out of sequence: its octets are no commands."""
    has_refused = dialog.has_refused
    fixed = _missing(dialog) if dialog.settings.offers_chunking else Fixed.COMMAND_NOT_OFFERED
    dialog.drop_chunk(chunks, fixed.value if has_refused else fixed)
    dialog.has_refused = has_refused and not chunks.is_last


def _rset(dialog: Dialog, verb: Verb, _argument: bytes) -> None:
    dialog.move(verb)
    dialog.end_transaction()
    dialog.say(Fixed.RESET_DONE.value)
    dialog.reset()


def _starttls(dialog: Dialog, verb: Verb, argument: bytes) -> None:
    if argument.strip():
        dialog.violate(verb.value, Fixed.TLS_WITH_PARAMETERS)
    elif dialog.is_tls:
        dialog.violate(verb.value, Fixed.TLS_RUNNING)
    elif not dialog.settings.offers_starttls:
        dialog.violate(verb.value, Fixed.TLS_NOT_OFFERED)
    else:
        dialog.ask(StartTls())


def _xclient(dialog: Dialog, verb: Verb, argument: bytes) -> None:
    event = _xclient_refusal(dialog) or parse_xclient(argument)
    if isinstance(event, Fixed):
        dialog.violate(verb.value, event)
    else:
        dialog.ask(event)


def _xclient_refusal(dialog: Dialog) -> Fixed | None:
    if not dialog.settings.offers_xclient:
        return Fixed.COMMAND_UNKNOWN
    if dialog.is_authenticated:
        return Fixed.XCLIENT_AFTER_AUTH
    return None if dialog.allows(Verb.XCLIENT) else Fixed.XCLIENT_IN_TRANSACTION


def _auth(dialog: Dialog, verb: Verb, argument: bytes) -> None:
    fixed = _auth_refusal(dialog)
    event = fixed or commands.parse_auth(argument, dialog.settings)
    if isinstance(event, Fixed):
        dialog.violate(verb.value, event)
    else:
        dialog.move(verb)
        dialog.ask(event)


def _auth_refusal(dialog: Dialog) -> Fixed | None:
    if not dialog.is_tls:
        return Fixed.AUTH_NEEDS_TLS
    if not dialog.settings.mechanisms:
        return Fixed.COMMAND_NOT_OFFERED
    if dialog.is_authenticated:
        return Fixed.AUTH_DONE
    if dialog.state in IN_TRANSACTION:
        return Fixed.AUTH_IN_TRANSACTION
    return None if dialog.allows(Verb.AUTH) else _missing(dialog)


def _continue_auth(dialog: Dialog, line: bytes) -> None:
    """The answer to a challenge; a lone "*" cancels (RFC 4954 §4)."""
    data = base64(line)
    if data is None:
        dialog.move(Happening.AUTH_END)
        fixed = Fixed.AUTH_CANCELLED if line == b"*" else Fixed.AUTH_MALFORMED
        dialog.violate(Verb.AUTH.value, fixed)
    else:
        dialog.ask(AuthResponse(data))


def _noop(dialog: Dialog, _verb: Verb, _argument: bytes) -> None:
    dialog.say(Fixed.NOOP_DONE.value)


def _help(dialog: Dialog, _verb: Verb, _argument: bytes) -> None:
    dialog.say(Fixed.HELP.value)


def _not_told(dialog: Dialog, verb: Verb, _argument: bytes) -> None:
    fixed = Fixed.VRFY_REFUSED if verb is Verb.VRFY else Fixed.EXPN_REFUSED
    dialog.violate(verb.value, fixed)


def _quit(dialog: Dialog, _verb: Verb, _argument: bytes) -> None:
    dialog.say(Fixed.GOODBYE.value)
    dialog.shut()
    dialog.events.append(Quit())


_HANDLERS: Final[Mapping[Verb, _Handler]] = {
    Verb.HELO: _hello,
    Verb.EHLO: _hello,
    Verb.LHLO: _hello,
    Verb.MAIL: _mail,
    Verb.RCPT: _rcpt,
    Verb.DATA: _data,
    Verb.BDAT: _bdat,
    Verb.RSET: _rset,
    Verb.AUTH: _auth,
    Verb.STARTTLS: _starttls,
    Verb.XCLIENT: _xclient,
    Verb.NOOP: _noop,
    Verb.HELP: _help,
    Verb.VRFY: _not_told,
    Verb.EXPN: _not_told,
    Verb.QUIT: _quit,
}
_COMMANDS: Final = {verb.value.encode(): (verb, handler) for verb, handler in _HANDLERS.items()}
