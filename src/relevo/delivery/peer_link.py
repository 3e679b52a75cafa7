"""A connection to a mail server, with a `ClientSession` speaking on it: its sockets and deadlines.

`open_link` connects and says hello; `PeerLink.transact` runs one transaction after another. What
the server does wrong is `LinkFailed` at the beginning and an unsettled transaction later. Reading
and writing go on at the same time, so that a server that answers in the middle of a body and one
that reads slowly are both heard.

Each wait has a deadline, and so has a transaction as a whole (RFC 5321 §4.5.3.2 gives the order of
size; the peers here are near). What the server sends unasked between transactions ends the link.
A body that is not in memory is read in a thread, a piece ahead (`ReadAhead`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from relevo.smtp import ClientSession
from relevo.smtp.client_events import (
    Failed,
    FailureKind,
    Greeted,
    HelloAccepted,
    Refused,
    Sent,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relevo.smtp import ClientSettings, Outgoing
    from relevo.smtp.client_events import ClientEvent, RecipientResult

CONNECT_S = 10.0
HELLO_S = 30.0  # for the greeting and for the answer to EHLO or LHLO
REPLY_S = 60.0
WRITE_S = 60.0  # without a piece of the body taken
END_S = 300.0  # after the final dot
TRANSACTION_S = 600.0
HIGH_WATER = 64 * 1024  # octets received and not yet looked at
_PIECES_AT_ONCE = 8


class LinkFailed(Exception):
    """No connection to use. The text is public: it names no path and no address."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is: a Unix socket's path, or host and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Transacted:
    """What came of a transaction.

    `results`: one a recipient, None where the server decided nothing before the link failed;
    `failure` says how it failed. `is_unheard`: the server sent nothing at all, so that it has
    taken nothing.
    """

    results: tuple[RecipientResult | None, ...]
    failure: str = ""
    is_unheard: bool = False


class ReadAhead:
    """The pieces of a body that come from the disk, each read in a thread before it is needed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._held.pop() if self._held else next(self._pieces)

    async def fill(self) -> None:
        """Have a piece at hand, if there is one left. Raises what reading raises."""
        if not self._held:
            piece = await asyncio.to_thread(next, self._pieces, None)
            if piece is not None:
                self._held.append(piece)


async def open_link(server: Server, settings: ClientSettings) -> PeerLink:
    """A link whose server said hello. Raises LinkFailed."""
    loop = asyncio.get_running_loop()
    link = PeerLink(ClientSession(settings))
    try:
        async with asyncio.timeout(CONNECT_S):
            if server.path:
                await loop.create_unix_connection(lambda: link, server.path)
            else:
                await loop.create_connection(lambda: link, server.host, server.port)
    except TimeoutError:
        link.abort()
        raise LinkFailed(f"no connection in {CONNECT_S:g} s") from None
    except OSError as error:
        raise LinkFailed(f"no connection: {error.strerror or 'name not found'}") from error
    try:
        await link.greet()
    except BaseException:
        link.abort()
        raise
    return link


class PeerLink(asyncio.Protocol):
    """A connection; one transaction at a time."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._transport: asyncio.Transport | None = None
        self._incoming: list[bytes] = []
        self._held = 0  # octets in `_incoming`
        self._changed = asyncio.Event()
        self._may_write = True
        self._is_ended = False  # the server sends no more
        self._is_busy = True
        self._was_heard = False

    @property
    def extensions(self) -> Mapping[str, str]:
        """What the server offers."""
        return self._session.extensions

    @property
    def is_usable(self) -> bool:
        """May another transaction begin?"""
        return not (self._is_ended or self._session.is_closing)

    # what to do

    async def greet(self) -> None:
        """Take the greeting and say hello. Raises LinkFailed."""
        event = await self._event_within(HELLO_S)
        if isinstance(event, Greeted):
            self._session.hello()
            event = await self._event_within(HELLO_S)
        match event:
            case HelloAccepted():
                self._is_busy = False
            case Refused(reply=reply):
                raise LinkFailed(f"refused at the beginning: {reply.code} {reply.text}")
            case Failed(text=text):
                raise LinkFailed(text)
            case _:
                raise LinkFailed("the server does not keep to the protocol")

    async def transact(self, outgoing: Outgoing) -> Transacted:
        """Send a message. Raises ValueError as `ClientSession.send`, and what reading raises.

        The link is not usable any more where a `failure` is told, or when this raises.
        """
        self._session.send(outgoing)
        self._is_busy, self._was_heard = True, False
        try:
            body = outgoing.body
            event = await self._event_within(
                TRANSACTION_S, body if isinstance(body, ReadAhead) else None
            )
        except BaseException:
            self.abort()
            raise
        match event:
            case Sent(results=results):
                self._is_busy = False
                if self._session.is_closing:
                    self.abort()
                return Transacted(results)
            case Failed(text=text, results=partial):
                self.abort()
                return Transacted(partial, text, is_unheard=not self._was_heard)
            case _:
                self.abort()
                none = (None,) * len(outgoing.recipients)
                return Transacted(none, "the server does not keep to the protocol")

    def close(self) -> None:
        """Say QUIT, and go without waiting for the answer."""
        if self._transport is not None and self.is_usable and not self._is_busy:
            self._session.quit()
            self._transport.write(self._session.take_output())
            self._transport.close()
        else:
            self.abort()
        self._is_ended = True

    def abort(self) -> None:
        """Cut the connection."""
        self._is_ended = True
        if self._transport is not None:
            self._transport.abort()

    # the session's events

    async def _event_within(self, seconds: float, body: ReadAhead | None = None) -> ClientEvent:
        """The next event; a deadline that passes is a `Failed` that keeps what was decided."""
        try:
            async with asyncio.timeout(seconds):
                return await self._event(body)
        except TimeoutError:
            step = self._session.waiting_for
        self._feed()
        event = self._last_event()
        if isinstance(event, Failed):
            awaited = f"answer to {step.value}" if step else "progress"
            return Failed(event.kind, f"no {awaited} in time", event.results)
        return event

    async def _event(self, body: ReadAhead | None) -> ClientEvent:
        while True:
            self._changed.clear()
            self._feed()
            event = self._session.next_event()
            if event is not None:
                return event
            if self._is_ended:
                return self._last_event()
            if not await self._write(body):
                async with asyncio.timeout(self._patience()):
                    await self._changed.wait()

    def _last_event(self) -> ClientEvent:
        """What it means that the server says no more."""
        self._session.receive_eof()
        return self._session.next_event() or Failed(FailureKind.CLOSED, "the connection is closed")

    async def _write(self, body: ReadAhead | None) -> bool:
        """Hand over some of what is to be sent; False: nothing, or the server does not take it."""
        assert self._transport is not None
        wrote = False
        for _ in range(_PIECES_AT_ONCE):
            if not self._may_write or self._is_ended:
                break
            if body is not None and self._session.waiting_for is None:
                await body.fill()
            octets = self._session.take_output()
            if not octets:
                break
            self._transport.write(octets)
            wrote = True
        if wrote:
            await asyncio.sleep(0)  # others have their turn, however fast the server reads
        return wrote

    def _feed(self) -> None:
        for data in self._incoming:
            self._session.receive(data)
        self._incoming.clear()
        if self._held > HIGH_WATER and not self._is_ended and self._transport is not None:
            self._transport.resume_reading()
        self._held = 0

    def _patience(self) -> float:
        """How long to wait for the next octet either way."""
        if not self._may_write:
            return WRITE_S
        return END_S if self._session.waiting_for is Step.END else REPLY_S

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_busy:
            self.abort()  # a server that speaks unasked is one that goes
            return
        self._was_heard = True
        self._incoming.append(data)
        before, self._held = self._held, self._held + len(data)
        if before <= HIGH_WATER < self._held and self._transport is not None:
            self._transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> None:
        self._is_ended = True
        self._changed.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self._is_ended = True
        self._changed.set()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._changed.set()
