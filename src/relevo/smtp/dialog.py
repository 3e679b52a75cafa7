"""What one server session knows, and the few moves that every command and answer is made of.

`ServerSession` is the outside of it; `incoming` moves it by what the client sent, `answers` by
what our own side decided. Everything that counts, refuses or ends a session goes through the
methods here, so that there is one way to be refused, one to end a transaction and one to close.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from relevo.smtp.buffer import InputBuffer
from relevo.smtp.events import Event, Reset, Violation
from relevo.smtp.framing import ChunkReader, DataReader
from relevo.smtp.replies import Fixed, Reply, render
from relevo.smtp.settings import SessionSettings
from relevo.smtp.states import IN_TRANSACTION, NEXT, Happening, Move, State

# Syntax, sequence, unknown commands, failed AUTH. Refused recipients have a limit of their own.
COUNTED_CODES: Final = frozenset({500, 501, 502, 503, 504, 535, 555})


class Dialog:
    """The state of one connection, server side."""

    def __init__(self, settings: SessionSettings, *, is_tls: bool) -> None:
        self.settings = settings
        self.state = State.START
        self.is_tls = is_tls
        self.is_closing = False
        self.is_authenticated = False
        self.is_trusted = False  # may relay without logging in
        self.is_esmtp = False
        self.hello_name = ""
        # counts, kept over transactions and STARTTLS
        self.errors = 0
        self.rejected_recipients = 0
        self.idle_commands = 0
        # the transaction
        self.accepted_recipients = 0
        self.is_binary = False
        # We refused a command of this transaction: what was pipelined behind it is out of
        # sequence through no new fault of the client, and is not counted as one.
        self.has_refused = False
        self.reading: DataReader | ChunkReader | None = None  # what takes the next octets
        self.chunks: ChunkReader | None = None  # the BDAT message begun
        self.chunk_refusal: Reply | Fixed | None = None  # said once the present chunk is read
        # in and out
        self.buffer = InputBuffer()
        self.output: list[bytes] = []
        self.events: deque[Event] = deque()
        self.awaiting: Event | None = None

    def move(self, move: Move) -> None:
        """Take an accepted move; the table has it, or we did wrong."""
        self.state = NEXT[self.state][move]

    def allows(self, move: Move) -> bool:
        return move in NEXT[self.state]

    def say(self, reply: Reply) -> None:
        self.settings.count_reply(reply.code)
        self.output.append(render(reply.code, reply.enhanced, reply.text))

    def ask(self, event: Event) -> None:
        """Report an event that waits for an answer."""
        self.awaiting = event
        self.events.append(event)

    def violate(
        self, verb: str, fixed: Fixed, *, resets: bool = False, closes: bool = False
    ) -> None:
        """Refuse what the client did, count it where it counts, report it."""
        reply = fixed.value
        if not closes and reply.code in COUNTED_CODES and self.errs_too_often():
            reply, closes = Fixed.TOO_MANY_ERRORS.value, True
        self.refuse(verb, reply, resets=resets, closes=closes)

    def refuse(
        self, verb: str, reply: Reply, *, resets: bool = False, closes: bool = False, times: int = 1
    ) -> None:
        """`violate` without counting; LMTP says a refused message once a recipient."""
        for _ in range(times):
            self.say(reply)
        if closes:
            resets |= self.state in IN_TRANSACTION
            self.shut()
        self.events.append(
            Violation(verb, reply.code, reply.enhanced, reply.text, resets=resets, closes=closes)
        )

    def errs_too_often(self) -> bool:
        """Count one more error; whether it is one too many."""
        self.errors += 1
        return self.errors >= self.settings.max_errors

    def rejects_too_often(self) -> bool:
        """Count one more refused recipient; whether it is one too many."""
        self.rejected_recipients += 1
        return self.rejected_recipients > self.settings.max_rejected_recipients

    def end_transaction(self) -> None:
        """The one way in which a transaction ends; the state is moved by the caller."""
        self.accepted_recipients = 0
        self.is_binary = False
        self.has_refused = False
        self.reading = self.chunks = None

    def end_body(self) -> None:
        """The message was refused or has ended: no DATA again without a new MAIL."""
        self.move(Happening.MESSAGE_END)
        self.end_transaction()

    def drop_chunk(self, chunks: ChunkReader, refusal: Reply | Fixed) -> None:
        """Read the present chunk to its end and refuse it then; the transaction is over."""
        chunks.drop()
        self.reading, self.chunk_refusal = chunks, refusal
        self.has_refused = not chunks.is_last  # the rest of the chunks may be on its way

    def reset(self) -> None:
        """Tell the shell to drop the transaction."""
        self.events.append(Reset())

    def shut(self) -> None:
        """Nothing that came or comes is run any more."""
        self.is_closing = True
        self.state = State.CLOSED
        self.awaiting = None
        self.buffer.clear()
        self.end_transaction()
