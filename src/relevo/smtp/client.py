"""One SMTP or LMTP connection, client side, without I/O (RFC 5321, 2033, 2920, 3030, 3207, 4954).

The shell says what to do (`hello`, `starttls`, `auth`, `send`, `quit`), feeds octets by `receive`
and takes events from `next_event` until there is none and octets from `take_output` until there
are none: a body is pulled piece by piece, so that a slow server holds the reader of the message
and not our memory. One action at a time: the next when the event of the last has come.

With PIPELINING a transaction is MAIL, all RCPT and DATA in one flight; with CHUNKING (when wanted)
MAIL, all RCPT and a small message itself, or a large one once a recipient was taken. A server that
lies, sends garbage or never ends its reply is answered with one `Failed` event; `next_event` raises
for no input.
"""

from __future__ import annotations

import binascii
from collections import deque
from typing import TYPE_CHECKING, Final

from relevo.smtp.buffer import InputBuffer
from relevo.smtp.client_commands import mail_command, rcpt_command
from relevo.smtp.client_events import (
    Authenticated,
    Challenge,
    ClientEvent,
    ClientSettings,
    Failed,
    FailureKind,
    Finished,
    Greeted,
    HelloAccepted,
    Outgoing,
    Refused,
    Sent,
    ServerReply,
    Step,
    TlsReady,
)
from relevo.smtp.client_transaction import Transaction
from relevo.smtp.events import BodyType
from relevo.smtp.grammar import base64
from relevo.smtp.outgoing_body import chunked, stuffed
from relevo.smtp.reply_reader import ReplyReader

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTPUT_OCTETS: Final = 65536  # pieces of a body are joined to this before they are handed out
ONE_FLIGHT_OCTETS: Final = 65536  # larger messages wait for the replies to RCPT


class ClientSession:
    """One connection to a server."""

    def __init__(self, settings: ClientSettings, *, is_tls: bool = False) -> None:
        self.settings = settings
        self.is_tls = is_tls
        self.is_closing = False
        self.extensions: dict[str, str] = {}  # keyword in upper case → its parameters
        self._buffer = InputBuffer()
        self._replies = ReplyReader()
        self._output: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._expected: deque[Step] = deque([Step.GREETING])
        self._commands: deque[tuple[Step, bytes]] = deque()  # not sent yet
        self._transaction: Transaction | None = None
        self._body: Iterator[tuple[bytes, bool]] | None = None
        self._is_chunked = False
        self._is_one_flight = False  # the message follows RCPT without waiting
        self._is_helo = False
        self._awaits_handshake = False
        self._needs_reset = False

    # what to do

    def hello(self) -> None:
        """EHLO (LHLO); falls back to HELO by itself where a server does not know EHLO."""
        self._is_helo = False
        verb = "LHLO" if self.settings.is_lmtp else "EHLO"
        self._enqueue(Step.HELLO, f"{verb} {self.settings.hello_name}\r\n".encode())

    def starttls(self) -> None:
        """STARTTLS; `TlsReady` or `Refused` follows."""
        self._enqueue(Step.STARTTLS, b"STARTTLS\r\n")

    def tls_started(self) -> None:
        """The handshake is done: nothing that was said in clear is believed (RFC 3207 §4.2)."""
        assert self._awaits_handshake
        self._awaits_handshake = False
        self.is_tls = True
        self.extensions = {}

    def auth(self, mechanism: str, initial: bytes | None = None) -> None:
        """AUTH with an initial response, which may be empty; `Challenge` and so on follow."""
        words = [b"AUTH", mechanism.encode("ascii")]
        if initial is not None:
            words.append(binascii.b2a_base64(initial, newline=False) or b"=")
        self._enqueue(Step.AUTH, b" ".join(words) + b"\r\n")

    def auth_plain(self, user: str, password: str, authorization_id: str = "") -> None:
        """AUTH PLAIN in one command (RFC 4616)."""
        self.auth("PLAIN", f"{authorization_id}\0{user}\0{password}".encode())

    def auth_respond(self, data: bytes) -> None:
        """Answer a `Challenge`."""
        self._enqueue(Step.AUTH, binascii.b2a_base64(data, newline=False) + b"\r\n")

    def auth_cancel(self) -> None:
        """Give an exchange up; `Refused` follows."""
        self._enqueue(Step.AUTH, b"*\r\n")

    def send(self, outgoing: Outgoing) -> None:
        """Begin a transaction; `Sent` or `Failed` ends it.

        Raises ValueError, before anything is sent, for an address or a parameter that cannot be
        written, and for a BINARYMIME body where the server does not take one. Parameters whose
        extension is not offered are left out.
        """
        assert self._transaction is None, "one transaction at a time"
        assert outgoing.recipients, "a transaction needs a recipient"
        is_binary = outgoing.parameters.body is BodyType.BINARY_MIME
        can_chunk = self._is_pipelining and "CHUNKING" in self.extensions
        if is_binary and not (can_chunk and "BINARYMIME" in self.extensions):
            raise ValueError("the server does not take BINARYMIME")
        self._is_chunked = can_chunk and (is_binary or self.settings.uses_chunking)
        commands = [(Step.MAIL, mail_command(outgoing, self.extensions))]
        commands += [
            (Step.RCPT, rcpt_command(recipient, self.extensions))
            for recipient in outgoing.recipients
        ]
        if not self._is_chunked:
            commands.append((Step.DATA, b"DATA\r\n"))
        self._transaction = Transaction(outgoing)
        if self._needs_reset:
            self._needs_reset = False
            commands.insert(0, (Step.RSET, b"RSET\r\n"))
        self._commands.extend(commands)
        self._flush()
        self._is_one_flight = self._is_chunked and self._fits_flight(outgoing)
        if self._is_one_flight:
            self._body = chunked(outgoing.body, is_binary=is_binary)

    def quit(self) -> None:
        """QUIT; `Finished` follows."""
        self._enqueue(Step.QUIT, b"QUIT\r\n")

    # in and out

    def receive(self, data: bytes) -> None:
        """Octets from the server."""
        if not data or self.is_closing:
            return
        if self._awaits_handshake:
            self._fail(FailureKind.OCTETS_BEFORE_TLS, "octets in clear behind STARTTLS")
            return
        self._buffer.append(data)

    def receive_eof(self) -> None:
        """The server closed; whole replies that came before are read first."""
        while self._take_reply():
            pass
        if self._expected and self._expected[0] is Step.QUIT:
            self._shut()
            self._events.append(Finished())
        elif not self.is_closing:
            self._fail(FailureKind.CLOSED, "the server closed the connection")

    def next_event(self) -> ClientEvent | None:
        """What happened; None: take the output, then feed more. Never raises for any input."""
        while not self._events and self._take_reply():
            pass
        return self._events.popleft() if self._events else None

    def take_output(self) -> bytes:
        """What is to be sent now, a bounded piece; b"": nothing until more was received.

        Raises what reading the body raises, and BareLineEnd; the session is closing then.
        """
        if self._output:
            octets = b"".join(self._output)
            self._output.clear()
            return octets
        if self._body is None or self.is_closing:
            return b""
        pieces: list[bytes] = []
        size = 0
        try:
            while size < OUTPUT_OCTETS and self._body is not None:
                piece, is_last = next(self._body)
                pieces.append(piece)
                size += len(piece)
                if is_last:
                    self._end_body()
                elif self._is_chunked:
                    self._expected.append(Step.CHUNK)
        except BaseException:
            self._shut()
            raise
        return b"".join(pieces)

    @property
    def waiting_for(self) -> Step | None:
        """What the next reply answers, for the shell's deadline."""
        return self._expected[0] if self._expected else None

    @property
    def is_sending_body(self) -> bool:
        """Will the next `take_output` read from the body?"""
        return self._body is not None and not self._output

    @property
    def has_output(self) -> bool:
        """May the next `take_output` give something?"""
        return bool(self._output) or self._body is not None

    @property
    def buffered(self) -> int:
        """Octets received and not yet consumed."""
        return len(self._buffer)

    # sending

    @property
    def _is_pipelining(self) -> bool:
        return self.settings.uses_pipelining and "PIPELINING" in self.extensions

    def _fits_flight(self, outgoing: Outgoing) -> bool:
        # LMTP answers a message once for each accepted RCPT: their number has to be known.
        size = outgoing.parameters.size
        return not self.settings.is_lmtp and size is not None and size <= ONE_FLIGHT_OCTETS

    def _enqueue(self, step: Step, octets: bytes) -> None:
        assert not self._awaits_handshake
        assert octets.count(b"\n") == 1, "one command, one line"
        self._commands.append((step, octets))
        self._flush()

    def _flush(self) -> None:
        """Send what may be sent: all at once with PIPELINING, else one and wait."""
        is_pipelining = self._is_pipelining
        while self._commands and (is_pipelining or not self._expected):
            step, octets = self._commands.popleft()
            self._output.append(octets)
            self._expected.append(step)

    def _end_body(self) -> None:
        """The end of the message is on its way."""
        assert self._transaction is not None
        self._body = None
        ends = self._transaction.accepted if self.settings.is_lmtp else 1
        self._expected.extend((Step.END,) * (ends or 1))

    # receiving

    def _take_reply(self) -> bool:
        """Run one reply; False: there is no whole one."""
        if self.is_closing or not self._buffer.octets:
            return False
        reply = self._replies.read(self._buffer)
        if reply is None:
            return False
        if isinstance(reply, FailureKind):
            self._fail(reply, f"{reply.value} from the server")
            return True
        step = self._expected.popleft() if self._expected else None
        if step is None:
            self._run_unasked(reply)
        elif step in _OF_TRANSACTION and self._transaction is not None:
            self._run_in_transaction(self._transaction, step, reply)
        else:
            self._run_single(step, reply)
        return True

    def _run_unasked(self, reply: ServerReply) -> None:
        """A server that gives up in the middle of the body, or out of the blue."""
        if reply.code < 400:
            self._fail(FailureKind.UNEXPECTED_REPLY, f"{reply.code} {reply.text}")
        elif self._transaction is not None:
            # The rest of the body cannot be taken back: the connection is lost, the reply counts.
            self._transaction.settle_rest(Step.END, reply)
            self._finish_transaction(self._transaction)
            self._shut()
        else:
            self._fail(FailureKind.CLOSED, f"{reply.code} {reply.text}")

    def _run_single(self, step: Step, reply: ServerReply) -> None:
        if reply.code == 334 and step is Step.AUTH:
            data = base64(reply.lines[0].strip().encode())
            if data is None:
                self._fail(FailureKind.MALFORMED_REPLY, "challenge is not base64")
            else:
                self._events.append(Challenge(data))
        elif 300 <= reply.code < 400:
            self._fail(FailureKind.UNEXPECTED_REPLY, f"{reply.code} to {step.value}")
        elif step is Step.QUIT:
            self._shut()
            self._events.append(Finished())
        elif reply.is_positive:
            self._accept(step, reply)
        elif step is Step.HELLO and self._falls_back(reply):
            self._is_helo = True
            self._enqueue(Step.HELLO, f"HELO {self.settings.hello_name}\r\n".encode())
        else:
            self._events.append(Refused(step, reply))
            if reply.code == 421:
                self._shut()

    def _falls_back(self, reply: ServerReply) -> bool:
        return reply.code >= 500 and not self._is_helo and not self.settings.is_lmtp

    def _accept(self, step: Step, reply: ServerReply) -> None:
        if step is Step.GREETING:
            self._events.append(Greeted(reply))
        elif step is Step.HELLO:
            words = [line.split(None, 1) for line in reply.lines[1:]] if not self._is_helo else []
            self.extensions = {
                word[0].upper(): word[1] if len(word) > 1 else "" for word in words if word
            }
            self._events.append(HelloAccepted(reply))
        elif step is Step.AUTH:
            self._events.append(Authenticated(reply))
        elif step is Step.STARTTLS:
            if self._buffer:
                self._fail(FailureKind.OCTETS_BEFORE_TLS, "octets in clear behind STARTTLS")
                return
            self._awaits_handshake = True
            self._events.append(TlsReady())

    def _run_in_transaction(self, transaction: Transaction, step: Step, reply: ServerReply) -> None:
        code = reply.code
        if code < 300 if step is Step.DATA else 300 <= code < 400:
            self._fail(FailureKind.UNEXPECTED_REPLY, f"{code} to {step.value}")
            return
        if code == 421:
            transaction.settle_rest(step, reply)
            self._finish_transaction(transaction)
            self._shut()
            return
        self._book(transaction, step, reply)
        if self._commands:
            self._flush()
        if not (self.is_closing or self._expected or self._commands or self._body):
            self._finish_transaction(transaction)

    def _book(self, transaction: Transaction, step: Step, reply: ServerReply) -> None:
        if step is Step.MAIL:
            transaction.take_mail(reply)
            if not reply.is_positive:
                self._commands.clear()
        elif step is Step.RCPT:
            transaction.take_rcpt(reply)
            if transaction.has_all_rcpt_replies:
                self._end_recipients(transaction)
        elif step is Step.DATA:
            if reply.code < 400:
                # A pipelined DATA is taken by some although no recipient was: end it at once.
                body = transaction.outgoing.body if transaction.accepted else ()
                self._body = stuffed(body)
            else:
                transaction.settle_rest(Step.DATA, reply)
        elif step is Step.CHUNK:
            if not reply.is_positive:
                transaction.settle_rest(Step.CHUNK, reply)
                self._body = None
                while self._expected.count(Step.END) > 1:
                    self._expected.pop()  # the last chunk is refused once, even by LMTP
        elif step is Step.END:
            transaction.take_end(reply, is_lmtp=self.settings.is_lmtp)
            if self._is_chunked and not reply.is_positive:
                transaction.is_open = True  # only RSET is sure to end it (RFC 3030 §4.2)
        elif not reply.is_positive:
            self._fail(FailureKind.UNEXPECTED_REPLY, f"{reply.code} to {step.value}")

    def _end_recipients(self, transaction: Transaction) -> None:
        if not transaction.accepted:
            self._commands.clear()  # DATA, where it was not pipelined
        elif self._is_chunked and not self._is_one_flight:
            outgoing = transaction.outgoing
            is_binary = outgoing.parameters.body is BodyType.BINARY_MIME
            self._body = chunked(outgoing.body, is_binary=is_binary)

    # endings

    def _finish_transaction(self, transaction: Transaction) -> None:
        self._needs_reset = transaction.is_open
        self._transaction = None
        self._events.append(Sent(tuple(transaction.final_results())))

    def _fail(self, kind: FailureKind, text: str) -> None:
        results = self._transaction.results if self._transaction is not None else []
        self._events.append(Failed(kind, text, tuple(results)))
        self._shut()

    def _shut(self) -> None:
        self.is_closing = True
        self._transaction = None
        self._body = None
        self._commands.clear()
        self._expected.clear()
        self._buffer.clear()


# A tuple: its members are compared by identity, where a set would ask each for its hash.
_OF_TRANSACTION = (Step.MAIL, Step.RCPT, Step.DATA, Step.END, Step.CHUNK, Step.RSET)
