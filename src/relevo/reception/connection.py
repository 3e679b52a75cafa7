"""One server connection: octets between the transport, the TLS layer and the session machine.

The only file of this room that touches a socket. One read, one write: what a read brought is
fed to the session, its events go to the `Dialogue`, and when none is left the output is written
at once. Where a proxy stands in front, its header is read before anything else, a TLS handshake
included. While an event waits for its answer (a task), nothing further is taken from the session,
and reading stops when a client sends far ahead.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from relevo.reception import answers
from relevo.reception.admission import Admission
from relevo.reception.conduct import Conduct
from relevo.reception.deadlines import Clocks
from relevo.reception.dialogue import Dialogue
from relevo.reception.networks import is_within
from relevo.reception.peer import NoClientNamed, Peer
from relevo.smtp import ServerSession
from relevo.smtp.events import StartTls, XClient
from relevo.tls_layer import TlsClosed, TlsFailed, TlsLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from relevo.reception.answers import Answer
    from relevo.reception.services import Mode, Services

logger = logging.getLogger("relevo.reception")

READ_AHEAD = 128 * 1024  # octets kept for a session that is waiting for an answer
LARGE_READ = 32 * 1024  # octets; a sender that fills its reads may go on and on
LAST_WORDS = 1.0  # seconds of silence after which a client of a server that stops is sent away
LAST_HANDSHAKE = 3.0  # the same for one that has begun with TLS
BURST = 128 * 1024  # octets of one sender, then the others' turn comes


class SmtpConnection(asyncio.Protocol):
    """A client's connection, from accept to close."""

    def __init__(
        self, services: Services, mode: Mode, open_connections: set[SmtpConnection]
    ) -> None:
        self._services = services
        self._mode = mode
        self._all = open_connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._tls: TlsLayer | None = None
        self._task: asyncio.Task[None] | None = None
        self._hold: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.conduct = Conduct(services.penalties, is_for_users=mode.requires_auth)
        self._peer = Peer(services.gate, self.conduct)
        self._offers_xclient = False
        self._is_reading = True
        self._is_in_line = False  # for a turn of its TLS handshake
        self._is_write_blocked = False
        self._burst = 0
        self._is_ending = False
        self._is_last = False  # no transaction after this one: the server stops
        self._has_eof = False  # the client sends no more, but some of it is not answered yet
        self.tls_version = ""
        self.tls_cipher = ""
        self.session = ServerSession(services.session_settings(mode))
        self._dialogue = Dialogue(self, services, mode)
        self._clocks = Clocks(self._loop.time())

    # -- transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class
        peer = transport.get_extra_info("peername")
        if peer:
            self._peer.move_to(*peer[:2])
        self._all.add(self)
        config = self._services.config
        if not config.listen.haproxy:
            self._begin()
        elif not is_within(self.client_ip, config.proxy.trusted):
            self._end_unanswered("it is none of proxy.trusted")
        elif (admission := self._peer.await_header()) is not Admission.ADMITTED:
            self._end_unanswered(admission.value)

    def _begin(self) -> None:
        """The client is known: count it, and greet it or wait for its TLS."""
        if is_within(self.client_ip, self._services.config.xclient.trusted):
            self._offers_xclient = self._peer.is_proxy = True
            self.session = ServerSession(
                self._services.session_settings(self._mode, offers_xclient=True)
            )
        if is_within(self.client_ip, self._services.config.relay.networks):
            self.session.trust()
        admission = self._peer.enter()
        is_admitted = admission is Admission.ADMITTED
        self._services.count("connections", self._mode.value if is_admitted else "refused")
        if self._mode.is_tls_from_start:
            if self._services.tls_context is None:
                self._end_unanswered("no certificate, so no TLS", logging.ERROR)
                return
            self._start_tls()
        if not is_admitted:
            refusal = answers.TOO_MANY_CONNECTIONS.with_detail(admission.value)
            self._end(refusal)
        elif self._tls is None:
            self._after_pause(self._greet)

    def _greet(self) -> None:
        self._dialogue.greet(self.session.greet)

    def _end_unanswered(self, why: str, level: int = logging.INFO) -> None:
        logger.log(level, "%s: connection closed: %s", self.client, why)
        if self._transport is not None:
            self._transport.abort()

    def _receive_header(self, data: bytes) -> None:
        """What came first of a connection that a proxy makes for its client."""
        proxy = self.client
        try:
            rest = self._peer.read_header(data)
        except NoClientNamed as error:
            self._end_unanswered(str(error))
            return
        if rest is None:
            return
        logger.debug("%s: by proxy %s", self.client, proxy)
        self._begin()
        if rest:
            self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        self._clocks.on_read(self._loop.time(), len(data))
        try:
            if self._peer.is_header_awaited:
                self._receive_header(data)
            elif self._tls is None:
                self.session.receive(data)
                self._pump()
            else:
                self._receive_tls(self._tls, data)
        except Exception:
            logger.exception("%s: unexpected error, connection ended", self.client)
            self._end(answers.INTERNAL_ERROR)
        if len(data) >= LARGE_READ:
            self._count_burst(len(data))

    def _count_burst(self, octets: int) -> None:
        """Let others in: libuv reads a ready socket up to 32 times before it looks at the next."""
        if not self._burst:
            self._loop.call_soon(self._end_burst)
        self._burst += octets
        if self._burst >= BURST:
            self._regulate_reading()

    def _end_burst(self) -> None:
        self._burst = 0
        self._regulate_reading()

    def eof_received(self) -> bool:
        return self._take_eof()

    def _take_eof(self) -> bool:
        """The client sends no more; True: what it sent before is still to be answered."""
        self._has_eof = self._task is not None or self._timer is not None
        if not self._has_eof:
            self.session.receive_eof()
            self._pump()
        return self._has_eof

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._all.discard(self)
        self._peer.leave()
        if self._timer is not None:
            self._timer.cancel()
        self.session.receive_eof()
        self._dialogue.drop()
        self._transport = None

    def pause_writing(self) -> None:
        self._is_write_blocked = True
        self._regulate_reading()

    def resume_writing(self) -> None:
        self._is_write_blocked = False
        self._regulate_reading()

    # -- what the dialogue asks for

    @property
    def client(self) -> str:
        """`ip:port`, for events."""
        return self._peer.name

    @property
    def client_ip(self) -> str:
        return self._peer.ip

    @property
    def named_ip(self) -> str:
        return "" if self._peer.is_proxy else self._peer.ip

    @property
    def channel_binding(self) -> bytes | None:
        """For SCRAM-…-PLUS."""
        return self._tls.channel_binding() if self._tls is not None else None

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run the one task that answers the current event; then go on with the session."""
        self._task = self._loop.create_task(self._run(work))

    async def _run(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("%s: unexpected error, connection ended", self.client)
            self._end(answers.INTERNAL_ERROR)
            return
        finally:
            self._task = None
        if self._transport is not None:
            self._pump()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        """Run the action after a while; then go on with the session."""

        def act() -> None:
            self._timer = None
            if self._transport is not None:
                action()
                self._pump()

        self._timer = self._loop.call_later(seconds, act)

    def hold_reading(self, until: Coroutine[object, object, None]) -> None:
        """Read nothing from the client until the coroutine is done."""
        if self._hold is not None:
            until.close()
            return
        self._hold = self._loop.create_task(self._release_reading(until))
        self._regulate_reading()

    async def _release_reading(self, until: Coroutine[object, object, None]) -> None:
        try:
            await until
        finally:
            self._hold = None
            self._clocks.read = self._loop.time()
            self._regulate_reading()

    # -- the pump

    def _after_pause(self, action: Callable[[], None]) -> None:
        """What penalties hold back, and then no more of it."""
        pause, self.conduct.pause = self.conduct.pause, 0.0
        if pause:
            self._later(pause, action)
            return
        action()
        self._flush()

    def _answer_offence(self) -> None:
        self._flush()
        if self.conduct.is_refused and not self._is_ending:
            self._end(answers.TOO_MANY_CONNECTIONS.with_detail(Admission.PENALIZED.value))

    def _pump(self) -> None:
        """Events to the dialogue until there is none; then one write."""
        session = self.session
        dialogue = self._dialogue
        conduct = self.conduct
        if self._timer is not None:
            self._regulate_reading()
            return
        while not conduct.pause and (event := session.next_event()) is not None:
            if type(event) is StartTls:
                session.reply(answers.GO_TLS.code, answers.GO_TLS.enhanced, answers.GO_TLS.text)
                self._flush()
                self._start_tls()
                return
            if type(event) is XClient:
                self._take_xclient(event)
            else:
                dialogue.handle(event)
        if conduct.pause:
            self._after_pause(self._answer_offence)
            self._regulate_reading()
            return
        self._flush()
        if self._services.is_draining:
            self.drain(self._loop.time())
        if self._has_eof:
            self._take_eof()
        if not self._is_reading or session.buffered > READ_AHEAD:
            self._regulate_reading()

    def _take_xclient(self, event: XClient) -> None:
        """From now on the client is whom a listed peer names; counted and greeted as that one."""
        self._dialogue.drop()
        proxy = self.client
        admission = self._peer.become(event.address, event.port)
        logger.debug("%s: by XCLIENT of %s", self.client, proxy)
        if admission is not Admission.ADMITTED:
            self._end(answers.TOO_MANY_CONNECTIONS.with_detail(admission.value))
            return
        self._dialogue.greet(lambda: self.session.reply(220, "", ""))

    def _flush(self) -> None:
        output = self.session.take_output()
        if output:
            self._clocks.answered = self._loop.time()
            self._write(output)
        if self.session.is_closing:
            self._close()

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._tls is None:
            self._transport.write(data)
        elif self._tls.is_up:
            try:
                self._tls.send(data)
            except TlsFailed:
                self._transport.abort()
                return
            self._transport.write(self._tls.take_output())

    def _close(self) -> None:
        self._is_ending = True
        if self._transport is None or self._transport.is_closing():
            return
        if self._tls is not None and self._tls.is_up:
            self._tls.end()
            self._transport.write(self._tls.take_output())
        self._transport.close()

    def _end(self, answer: Answer) -> None:
        """Say a last word and close."""
        self._dialogue.drop()
        self.session.close(answer.code, answer.enhanced, answer.text)
        self._flush()

    def _regulate_reading(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._has_eof:
            return
        wanted = (
            self._hold is None
            and self._burst < BURST
            and not self._is_in_line
            and not self._is_write_blocked
            and self.session.buffered <= READ_AHEAD
        )
        if wanted and not self._is_reading:
            self._is_reading = True
            transport.resume_reading()
        elif not wanted and self._is_reading:
            self._is_reading = False
            transport.pause_reading()

    # -- TLS

    def _start_tls(self) -> None:
        context = self._services.tls_context
        assert context is not None, "TLS is offered only with a certificate"
        self._tls = TlsLayer(context)
        self._clocks.connected = self._loop.time()

    def _receive_tls(self, tls: TlsLayer, data: bytes) -> None:
        tls.receive(data)
        if tls.is_up:
            self._read_tls(tls)
        elif not self._is_in_line:
            self._is_in_line = True
            self._services.handshakes.ask(self._take_turn)
            self._regulate_reading()

    def _take_turn(self) -> bool:
        """The next step of the handshake; False: the client is gone."""
        self._is_in_line = False
        tls = self._tls
        if self._transport is None or tls is None:
            return False
        try:
            self._read_tls(tls)
        except Exception:
            logger.exception("%s: unexpected error, connection ended", self.client)
            self._end(answers.INTERNAL_ERROR)
        self._regulate_reading()
        return True

    def _read_tls(self, tls: TlsLayer) -> None:
        try:
            if not tls.is_up and not self._go_on_with_handshake(tls):
                return
            for plaintext in tls.plaintext():
                self.session.receive(plaintext)
            self._write_raw(tls)  # answers of TLS itself: a client may ask for new keys for ever
            self._pump()
        except TlsClosed:
            self._pump()
            if not self._take_eof():
                self._close()
        except TlsFailed as error:
            if not tls.is_up:
                self._services.count("handshakes", "failed")
            logger.info("%s: TLS failed: %s", self.client, error)
            self._write_raw(tls)
            self._dialogue.drop()
            if self._transport is not None:
                self._transport.close()

    def _go_on_with_handshake(self, tls: TlsLayer) -> bool:
        is_up = tls.handshake()
        self._write_raw(tls)
        if not is_up:
            return False
        self._services.count("handshakes", tls.version)
        self.tls_version = tls.version
        self.tls_cipher = tls.cipher
        settings = self._services.session_settings(
            self._mode,
            tls.server_name,
            has_channel_binding=tls.channel_binding() is not None,
            offers_xclient=self._offers_xclient,
        )
        if self._mode.is_tls_from_start:
            self.session = ServerSession(settings, is_tls=True)
            self._greet()
        else:
            self._dialogue.drop()
            self.session.tls_started(settings)
        self._flush()
        return True

    def _write_raw(self, tls: TlsLayer) -> None:
        output = tls.take_output()
        if output and self._transport is not None and not self._transport.is_closing():
            self._transport.write(output)

    # -- deadlines and shutdown

    def check_deadlines(self, now: float) -> None:
        """Called about once a second by the worker."""
        clocks = self._clocks
        if self._is_ending:
            if now - clocks.answered > 10 and self._transport is not None:
                self._transport.abort()
            return
        limits = self._services.config.limits
        if self._peer.is_header_awaited:
            if clocks.has_no_handshake(now, limits):
                self._end_unanswered("its PROXY header took too long")
            return
        if self._tls is not None and not self._tls.is_up:
            if clocks.has_no_handshake(now, limits):
                logger.info("%s: TLS handshake took too long", self.client)
                self._dialogue.drop()
                if self._transport is not None:
                    self._transport.abort()
            return
        if self._hold is not None:
            clocks.read = now  # it is our disk that is slow
        gate = self._services.gate
        word = clocks.last_word(self.session, limits, now, is_busy=gate.is_busy)
        if word is not None:
            self._end(word)

    def drain(self, now: float) -> None:
        """The server stops, and asks again and again: after the transaction that is open, or the
        one that a client who is just speaking may still begin, or once it is silent, it is over.
        """
        if self._task is not None or self._is_ending:
            return
        is_in_handshake = self._tls is not None and not self._tls.is_up
        patience = LAST_HANDSHAKE if is_in_handshake else LAST_WORDS
        is_silent = now - max(self._clocks.read, self._clocks.answered) >= patience
        if self._dialogue.has_transaction:
            self._is_last = True
        elif self._peer.is_header_awaited and is_silent:
            self._end_unanswered("the server stops")
        elif self._is_last or is_silent:
            self._end(answers.SHUTTING_DOWN)

    def abort(self) -> None:
        """The grace period is over."""
        if self._transport is not None:
            self._transport.abort()
