"""One SMTP or LMTP connection, server side, without I/O.

Octets go in by `receive`, events come out of `next_event`, answers go in by `reply`, `proceed` and
`challenge`, and `take_output` hands out what is to be sent. RFC 5321, 2033, 2920, 3030, 3207,
3461, 4954, 6531.

Promises: `next_event` raises for no input; the events and the output depend on the octets and the
answers alone, not on how the octets were cut into reads; a command is never looked at before the
one in front of it was answered; nothing behind a line or a message that closes the session is
ever run; after STARTTLS nothing that came in clear is.

Who drops a transaction: every event that ends one says so (`Hello`, a new `Mail`, `Reset`,
`MessageEnd` and a `BodyStart` refused by our own side once answered, `StartTls` and `XClient`
answered 220, a `Violation` with `resets`). Every closing by the session itself is told by `Quit`
or by a `Violation` with `closes`.
"""

from __future__ import annotations

import binascii
from enum import Enum
from typing import TYPE_CHECKING, Final

from relevo.smtp.answers import answer, answer_message, greet, start_body, take_question
from relevo.smtp.dialog import Dialog
from relevo.smtp.events import Auth, AuthResponse, BodyStart, Event, MessageEnd
from relevo.smtp.incoming import final_replies, read_body, read_line
from relevo.smtp.replies import Reply
from relevo.smtp.settings import SessionSettings
from relevo.smtp.states import IN_TRANSACTION, Happening, State

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Deadline", "ServerSession", "SessionSettings"]


_TLS: Final = State.TLS
_SILENT: Final = frozenset({State.START, State.TLS})  # nothing is read from the client


class Deadline(Enum):
    """Which timer runs (RFC 5321 §4.5.3.2); the shell owns the clock and the durations."""

    COMMAND = "command"  # waiting for a command or a continuation line
    DATA = "data"  # waiting for octets of a message
    ANSWER = "answer"  # waiting for our own side: no client deadline runs


class ServerSession:
    """One SMTP connection, server side, without I/O (RFC 5321, 2920, 3030, 3461, 4954)."""

    __slots__ = ("_dialog",)

    def __init__(self, settings: SessionSettings, *, is_tls: bool = False) -> None:
        self._dialog = Dialog(settings, is_tls=is_tls)

    def trust(self) -> None:
        """The client may relay: it is told of what is for such clients."""
        self._dialog.is_trusted = True

    # fed by the shell

    def greet(self) -> None:
        """Say 220; until then what the client sent waits."""
        dialog = self._dialog
        if dialog.is_closing:
            return
        dialog.move(Happening.GREETING)
        greet(dialog)

    def receive(self, data: bytes) -> None:
        """Octets from the client. The shell stops reading while `buffered` is large."""
        dialog = self._dialog
        if data and not dialog.is_closing and dialog.state is not _TLS:
            dialog.buffer.append(data if isinstance(data, bytes) else bytes(data))

    def receive_eof(self) -> None:
        """The client is gone: nothing more is run, an open transaction is dropped by `Reset`.

        A message whose `MessageEnd` waits for its answer is the shell's to finish.
        """
        dialog = self._dialog
        if dialog.is_closing:
            return
        is_open = dialog.state in IN_TRANSACTION and not isinstance(dialog.awaiting, MessageEnd)
        dialog.shut()
        dialog.events.clear()
        if is_open:
            dialog.reset()

    def tls_started(self, settings: SessionSettings) -> None:
        """TLS is up: forget all that was said in clear but the counts (RFC 3207 §4.2)."""
        dialog = self._dialog
        if dialog.is_closing:
            return
        dialog.move(Happening.HANDSHAKE)
        dialog.end_transaction()
        dialog.settings = settings
        dialog.is_tls = True
        dialog.is_esmtp = False
        dialog.hello_name = ""

    # pulled by the shell

    def next_event(self) -> Event | None:
        """What to act on; None: flush `take_output()`, then feed more or answer.

        Violation and Quit are already answered. Never raises, whatever the client sent.
        """
        dialog = self._dialog
        events = dialog.events
        while not events:
            if dialog.awaiting is not None or dialog.is_closing:
                return None
            reading = dialog.reading
            if reading is not None:
                has_moved = read_body(dialog, reading)
            elif not dialog.buffer.octets or dialog.state in _SILENT:
                return None
            else:
                has_moved = read_line(dialog)
            if not has_moved:
                return None
        return events.popleft()

    def take_output(self) -> bytes:
        """What is to be sent now, once."""
        output = self._dialog.output
        if not output:
            return b""
        octets = b"".join(output)
        output.clear()
        return octets

    def deadline(self) -> Deadline:
        """Which timer runs now."""
        dialog = self._dialog
        if dialog.awaiting is not None or dialog.is_closing or dialog.state in _SILENT:
            return Deadline.ANSWER
        return Deadline.COMMAND if dialog.reading is None else Deadline.DATA

    # answers to the event last returned; without effect once the session is closing

    def reply(self, code: int, enhanced: str, text: str) -> None:
        """Answer the event last returned; 2xx moves the state by NEXT.

        `text` may hold anything, a LF makes more lines; see `replies.render`. For HELO, EHLO and
        LHLO our hostname is put before it. Raises AssertionError when no event waits.
        """
        dialog = self._dialog
        if not dialog.is_closing:
            answer(dialog, take_question(dialog), Reply(code, enhanced, text))

    def proceed(self) -> None:
        """Answer `BodyStart`: let the message come."""
        dialog = self._dialog
        if not dialog.is_closing:
            event = take_question(dialog)
            assert isinstance(event, BodyStart)
            start_body(dialog, event)

    def challenge(self, data: bytes) -> None:
        """Answer `Auth` or `AuthResponse`: 334 with a challenge, maybe empty."""
        dialog = self._dialog
        if not dialog.is_closing:
            assert isinstance(take_question(dialog), Auth | AuthResponse)
            encoded = binascii.b2a_base64(data, newline=False)
            dialog.settings.count_reply(334)
            dialog.output.append(b"334 " + encoded + b"\r\n")

    def reply_recipients(self, replies: Sequence[tuple[int, str, str]]) -> None:
        """LMTP: one reply per accepted recipient after the message (RFC 2033 §4.2)."""
        dialog = self._dialog
        if not dialog.is_closing:
            assert isinstance(take_question(dialog), MessageEnd)
            assert len(replies) == final_replies(dialog)
            answer_message(dialog, [Reply(*reply) for reply in replies])

    def close(self, code: int, enhanced: str, text: str) -> None:
        """End the session at any moment with a last reply (421 on deadline or shutdown)."""
        dialog = self._dialog
        if not dialog.is_closing:
            dialog.say(Reply(code, enhanced, text))
            dialog.shut()
            dialog.events.clear()

    # readable state

    @property
    def settings(self) -> SessionSettings:
        return self._dialog.settings

    @property
    def state(self) -> State:
        return self._dialog.state

    @property
    def is_closing(self) -> bool:
        """Close after the output is flushed; events left are still to be taken."""
        return self._dialog.is_closing

    @property
    def is_tls(self) -> bool:
        return self._dialog.is_tls

    @property
    def is_authenticated(self) -> bool:
        return self._dialog.is_authenticated

    @property
    def is_esmtp(self) -> bool:
        """EHLO or LHLO was accepted; a later HELO takes nothing back."""
        return self._dialog.is_esmtp

    @property
    def hello_name(self) -> str:
        """As sent with the last HELO, EHLO or LHLO accepted; "" before it."""
        return self._dialog.hello_name

    @property
    def is_dropping(self) -> bool:
        """What arrives of a message is refused already, and is read only to its end."""
        reading = self._dialog.reading
        return reading is not None and reading.is_dropping

    @property
    def accepted_recipients(self) -> int:
        """Of the present transaction; 0 once it is over."""
        return self._dialog.accepted_recipients

    @property
    def rejected_recipients(self) -> int:
        """Refused with 5xx on this connection; the shell slows down a client with many."""
        return self._dialog.rejected_recipients

    @property
    def errors(self) -> int:
        return self._dialog.errors

    @property
    def buffered(self) -> int:
        """Octets received and not yet consumed."""
        buffer = self._dialog.buffer
        return len(buffer) if buffer.octets else 0
