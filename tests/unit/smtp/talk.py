"""A client session fed by hand, for tests."""

from __future__ import annotations

from relevo.smtp.client import ClientSession
from relevo.smtp.client_events import (
    ClientEvent,
    ClientSettings,
    Outgoing,
    OutgoingRecipient,
    Sent,
    Step,
)
from relevo.smtp.events import Path

CLIENT = ClientSettings(hello_name="cli.test")
EHLO = b"220 mx ESMTP\r\n", b"250-mx\r\n250-PIPELINING\r\n250-SIZE 100\r\n250 8BITMIME\r\n"
CHUNKING = b"220 mx\r\n", b"250-mx\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 chunking\r\n"
PLAIN = b"220 mx\r\n", b"250 mx\r\n"


def outgoing(*users: str, body: tuple[bytes, ...] = (b"A: b\r\n\r\n.x\r\n",)) -> Outgoing:
    recipients = tuple(OutgoingRecipient(Path(user, "d.test")) for user in users)
    return Outgoing(Path("a", "b.test"), recipients, body)


class Talk:
    """A client, fed by hand."""

    def __init__(self, settings: ClientSettings = CLIENT, *replies: bytes) -> None:
        self.client = ClientSession(settings)
        self.events: list[ClientEvent] = []
        if replies:
            self.hear(replies[0])
            self.client.hello()
            self.said()
            self.hear(replies[1])
            self.events.clear()

    def hear(self, octets: bytes) -> list[ClientEvent]:
        self.client.receive(octets)
        return self.drain()

    def drain(self) -> list[ClientEvent]:
        new = []
        while (event := self.client.next_event()) is not None:
            new.append(event)
        self.events += new
        return new

    def waits_for(self) -> Step | None:
        return self.client.waiting_for

    def said(self) -> bytes:
        output = b""
        while piece := self.client.take_output():
            output += piece
        return output


def steps(events: list[ClientEvent]) -> list[tuple[Step, int]]:
    (sent,) = events
    assert isinstance(sent, Sent)
    return [(result.step, result.reply.code) for result in sent.results]
