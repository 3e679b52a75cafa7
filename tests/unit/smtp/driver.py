"""A server session with a shell that answers each event at once, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from relevo.smtp.events import (
    Auth,
    AuthResponse,
    BodyStart,
    Chunk,
    Event,
    Hello,
    Mail,
    MessageEnd,
    Rcpt,
    Reset,
    StartTls,
    Violation,
    XClient,
)
from relevo.smtp.server import ServerSession, SessionSettings

Answer = Callable[[ServerSession, Event], None]

SETTINGS = SessionSettings(
    hostname="mx.test",
    max_size=1000,
    offers_starttls=True,
    mechanisms=("PLAIN", "LOGIN"),
)
TO_RCPT = b"EHLO cli\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
TO_DATA = TO_RCPT + b"DATA\r\n"


def accept(session: ServerSession, event: Event) -> None:
    """Say yes to everything."""
    match event:
        case Hello():
            session.reply(250, "", "welcome")
        case Mail() | Rcpt():
            session.reply(250, "2.1.0", "ok")
        case BodyStart():
            session.proceed()
        case MessageEnd():
            session.reply(250, "2.0.0", "queued")
        case StartTls():
            session.reply(220, "2.0.0", "go")
        case XClient():
            session.reply(220, "", "hello again")
        case Auth(initial=None):
            session.challenge(b"")
        case Auth() | AuthResponse():
            session.reply(235, "2.7.0", "in")
        case _:
            pass


def refusing(kind: type[Event], code: int, enhanced: str = "") -> Answer:
    """Say no to one kind of event, yes to the others."""

    def answer(session: ServerSession, event: Event) -> None:
        if isinstance(event, kind):
            session.reply(code, enhanced, "no")
        else:
            accept(session, event)

    return answer


class Driver:
    """Feeds octets, records events and output."""

    def __init__(
        self,
        settings: SessionSettings = SETTINGS,
        *,
        is_tls: bool = False,
        answer: Answer = accept,
    ) -> None:
        self.session = ServerSession(settings, is_tls=is_tls)
        self.answer = answer
        self.events: list[Event] = []
        self.output = b""
        self.session.greet()
        self.pump()

    def pump(self) -> None:
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
            self.answer(self.session, event)
        self.output += self.session.take_output()

    def feed(self, *reads: bytes) -> list[int]:
        """Codes of the replies to these reads, one a reply."""
        before = len(self.output)
        for read in reads:
            self.session.receive(read)
            self.pump()
        return codes(self.output[before:])

    @property
    def last_line(self) -> bytes:
        return self.output.rstrip(b"\r\n").rpartition(b"\r\n")[2]

    @property
    def violations(self) -> list[Violation]:
        return [event for event in self.events if isinstance(event, Violation)]

    @property
    def body(self) -> bytes:
        return b"".join(event.data for event in self.events if isinstance(event, Chunk))

    @property
    def messages(self) -> int:
        return sum(isinstance(event, MessageEnd) for event in self.events)


def codes(output: bytes) -> list[int]:
    """One code a reply; each line must be one."""
    lines = output.split(b"\r\n")
    assert lines.pop() == b""
    return [int(line[:3]) for line in lines if line[3:4] == b" "]


def merged(events: Iterable[Event]) -> list[Event]:
    """Events without what depends on the cutting: chunks joined, and gone with a transaction."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, Chunk) and isinstance(last, Chunk):
            result[-1] = Chunk(last.data + event.data)
            continue
        is_dropped = isinstance(event, Reset) or (isinstance(event, Violation) and event.resets)
        if is_dropped and isinstance(last, Chunk):
            result.pop()
        result.append(event)
    return result
