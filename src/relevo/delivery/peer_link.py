"""A connection to a mail server, with a `ClientSession` speaking on it: sockets, TLS, deadlines.

`open_link` connects and says hello; `PeerLink.transact` runs one transaction after another. What
the server does wrong is `LinkFailed` at the beginning and an unsettled transaction later. Reading
and writing go on at the same time, so that a server that answers in the middle of a body and one
that reads slowly are both heard.

Each wait has a deadline, and so has a transaction as a whole (RFC 5321 §4.5.3.2 gives the order of
size; those of a near peer are shorter). What the server sends unasked between transactions ends the
link. After STARTTLS nothing that came in clear is looked at again.
A body that is not in memory is read in a thread, a piece ahead (`ReadAhead`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, cast

from relevo.delivery.link_values import PLAIN, LinkFailed, Server, StepRefused, TlsFacts, Transacted
from relevo.delivery.read_ahead import ReadAhead
from relevo.smtp import ClientSession
from relevo.smtp.client_events import (
    Authenticated,
    Challenge,
    Failed,
    FailureKind,
    Greeted,
    HelloAccepted,
    Refused,
    Sent,
    Step,
    TlsReady,
)
from relevo.tls_layer import TlsClosed, TlsFailed, TlsLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from relevo.delivery.link_values import AuthExchange
    from relevo.smtp import ClientSettings, Outgoing
    from relevo.smtp.client_events import ClientEvent

CONNECT_S = 10.0
HELLO_S = 30.0  # for the greeting and for the answer to EHLO or LHLO
REPLY_S = 60.0
WRITE_S = 60.0  # without a piece of the body taken
END_S = 300.0  # after the final dot
TRANSACTION_S = 600.0
HANDSHAKE_S = 30.0
HIGH_WATER = 64 * 1024  # octets received and not yet looked at
_PIECES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds; for what, is said where the defaults for near peers stand."""

    connect: float
    hello: float
    reply: float
    write: float
    end: float
    transaction: float


def near_deadlines() -> Deadlines:
    """For a peer on this machine or beside it."""
    return Deadlines(CONNECT_S, HELLO_S, REPLY_S, WRITE_S, END_S, TRANSACTION_S)


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


def _failure(event: ClientEvent) -> LinkFailed:
    """What it means that this came instead of what was waited for."""
    match event:
        case Refused(step=step, reply=reply):
            return StepRefused(step, reply)
        case Failed(text=text):
            return LinkFailed(text)
        case _:
            return LinkFailed("the server does not keep to the protocol")


class PeerLink(asyncio.Protocol):
    """A connection; one transaction at a time."""

    def __init__(self, session: ClientSession, deadlines: Deadlines | None = None) -> None:
        self._session = session
        self._deadlines = deadlines or near_deadlines()
        self._tls: TlsLayer | None = None
        self.tls: TlsFacts = PLAIN  # for whoever made the link to say
        self.share_key: Hashable = None  # whom else it may serve, for who keeps it
        self.peer_address = ""  # that it leads to
        self.transactions = 0  # that were begun
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._until = inf  # for what is under way as a whole
        self._due = inf  # for the wait under way
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self.when_ended: Callable[[], None] | None = None  # called once, before the socket closes
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
    def tls_layer(self) -> TlsLayer | None:
        """None: what is said is in clear."""
        return self._tls

    @property
    def age_s(self) -> float:
        """Seconds since the connection was asked for."""
        return self._loop.time() - self._began

    @property
    def is_usable(self) -> bool:
        """May another transaction begin?"""
        return not (self._is_ended or self._session.is_closing)

    # what to do

    async def greet(self) -> None:
        """Take the greeting and say hello. Raises LinkFailed."""
        await self.take_greeting()
        await self.hello()

    async def take_greeting(self) -> None:
        """Wait for the server to begin. Raises LinkFailed."""
        event = await self._event_within(self._deadlines.hello)
        if not isinstance(event, Greeted):
            raise _failure(event)

    async def hello(self) -> None:
        """Say hello, and be ready for transactions. Raises LinkFailed."""
        self._is_busy = True
        self._session.hello()
        event = await self._event_within(self._deadlines.hello)
        if not isinstance(event, HelloAccepted):
            raise _failure(event)
        self._is_busy = False

    async def start_tls(self, tls: TlsLayer) -> None:
        """STARTTLS and the handshake; say hello again after it. Raises LinkFailed, TlsFailed."""
        self._is_busy = True
        self._session.starttls()
        event = await self._event_within(self._deadlines.hello)
        if not isinstance(event, TlsReady):
            raise _failure(event)
        self._feed()  # octets behind the 220 make the session fail
        if self._session.is_closing:
            raise _failure(self._last_event())
        await self.handshake(tls)
        self._session.tls_started()

    async def handshake(self, tls: TlsLayer) -> None:
        """TLS on what was in clear so far. Raises TlsFailed."""
        self._tls = tls
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                while not self._step_handshake(tls):
                    if self._is_ended:
                        raise TlsFailed("the connection was closed during the handshake")
                    await self._changed.wait()
        except TimeoutError:
            raise TlsFailed(f"no handshake in {HANDSHAKE_S:g} s") from None
        self._decrypt(tls)

    def _step_handshake(self, tls: TlsLayer) -> bool:
        self._changed.clear()
        try:
            return tls.handshake()
        finally:
            self._put(tls.take_output())  # in a failure, the alert that tells why

    async def authenticate(self, exchange: AuthExchange) -> None:
        """AUTH, step by step. Raises LinkFailed."""
        self._is_busy = True
        self._session.auth(exchange.mechanism, exchange.initial)
        while True:
            event = await self._event_within(self._deadlines.hello)
            match event:
                case Challenge(data=data):
                    answer = exchange.answer(data)
                    if answer is None:
                        self._session.auth_cancel()
                    else:
                        self._session.auth_respond(answer)
                case Authenticated() if exchange.is_satisfied:
                    break
                case Authenticated():
                    raise LinkFailed("the server did not prove that it knows the password")
                case _:
                    raise _failure(event)
        self._is_busy = False

    async def transact(self, outgoing: Outgoing) -> Transacted:
        """Send a message. Raises ValueError as `ClientSession.send`, and what reading raises.

        The link is not usable any more where a `failure` is told, or when this raises.
        """
        self._session.send(outgoing)
        self.transactions += 1
        self._is_busy, self._was_heard = True, False
        try:
            body = outgoing.body
            event = await self._event_within(
                self._deadlines.transaction, body if isinstance(body, ReadAhead) else None
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
            self._end()
            self._session.quit()
            self._send(self._session.take_output())
            if self._tls is not None:
                self._tls.end()
                self._put(self._tls.take_output())
            self._transport.close()
        else:
            self.abort()
        self._is_ended = True

    def abort(self) -> None:
        """Cut the connection."""
        self._end()
        self._is_ended = True
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        call, self.when_ended = self.when_ended, None
        if call is not None:
            call()

    # the session's events

    async def _event_within(self, seconds: float, body: ReadAhead | None = None) -> ClientEvent:
        """The next event; a deadline that passes is a `Failed` that keeps what was decided."""
        self._until = self._loop.time() + seconds
        try:
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
        """Raises TimeoutError."""
        while True:
            self._changed.clear()
            self._feed()
            event = self._session.next_event()
            if event is not None:
                return event
            if self._is_ended:
                return self._last_event()
            if not await self._write(body) and not self._is_ended:
                await self._wait(self._patience())

    def _last_event(self) -> ClientEvent:
        """What it means that the server says no more."""
        self._session.receive_eof()
        return self._session.next_event() or Failed(FailureKind.CLOSED, "the connection is closed")

    async def _write(self, body: ReadAhead | None) -> bool:
        """Hand over what is to be sent; False: that was all, or the server takes no more now."""
        assert self._transport is not None
        session = self._session
        for _ in range(_PIECES_AT_ONCE):
            if not self._may_write or self._is_ended or not session.has_output:
                return False
            if body is not None and session.is_sending_body:
                async with asyncio.timeout_at(self._until):
                    await body.fill()
            octets = session.take_output()
            if octets:
                self._send(octets)
        await asyncio.sleep(0)  # others have their turn, however fast the server reads
        return True

    def _feed(self) -> None:
        for data in self._incoming:
            self._session.receive(data)
        self._incoming.clear()
        if self._held > HIGH_WATER and not self._is_ended and self._transport is not None:
            self._transport.resume_reading()
        self._held = 0

    async def _wait(self, seconds: float) -> None:
        """Until something changed. Raises TimeoutError.

        One timer serves many waits: it is not taken back when a wait ends, but looks, when it goes
        off, whether one is under way and for how long still.
        """
        self._due = due = min(self._until, self._loop.time() + seconds)
        if self._timer is None or due < self._timer.when():
            self._arm(due)
        await self._changed.wait()
        self._due = inf
        if self._is_late:
            self._is_late = False
            raise TimeoutError

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        if self._due <= self._loop.time():
            self._is_late = True
            self._changed.set()
        elif self._due < inf:
            self._arm(self._due)

    def _patience(self) -> float:
        """How long to wait for the next octet either way."""
        if not self._may_write:
            return self._deadlines.write
        is_end = self._session.waiting_for is Step.END
        return self._deadlines.end if is_end else self._deadlines.reply

    # octets, through TLS where it is up

    def _send(self, octets: bytes) -> None:
        if self._tls is not None:
            try:
                self._tls.send(octets)
            except TlsFailed:
                self.abort()
                return
            octets = self._tls.take_output()
        self._put(octets)

    def _put(self, octets: bytes) -> None:
        if octets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)

    def _decrypt(self, tls: TlsLayer) -> None:
        """Take what the received records hold; a broken one ends the link."""
        try:
            for data in tls.plaintext():
                self._take(data)
        except TlsClosed:
            self.eof_received()
        except TlsFailed:
            self.abort()
        else:
            self._put(tls.take_output())  # what TLS itself has to answer
        self._changed.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        tls = self._tls
        if tls is None:
            self._take(data)
            return
        tls.receive(data)
        if tls.is_up:
            self._decrypt(tls)
        else:
            self._changed.set()

    def _take(self, data: bytes) -> None:
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
