"""Opens a connection to another mail server: TLS as demanded, logged in, ready for transactions.

One call is one host and one address; which hosts and addresses are tried, in which order, is the
caller's. With `Need.NONE` the best is taken that can be had: a verified certificate, else any, else
plain text, each on a new connection where a handshake failed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from relevo.delivery.link_values import LinkFailed, StepRefused, TlsFacts
from relevo.delivery.peer_link import Deadlines, PeerLink
from relevo.outbound.authentication import choose_exchange
from relevo.outbound.dane import check_chain
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.tls_contexts import Check, Problem, TlsContexts
from relevo.smtp import ClientSession
from relevo.smtp.client_events import Step
from relevo.tls_layer import CertificateRefused, TlsFailed

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from relevo.outbound.credentials import Credentials
    from relevo.smtp import ClientSettings
    from relevo.tls_layer import TlsLayer

# RFC 5321 §4.5.3.2 gives more for most; a peer that needs it is one to come back to.
FAR = Deadlines(connect=30, hello=120, reply=180, write=180, end=600, transaction=1800)


@dataclass(frozen=True, slots=True)
class Destination:
    """One address of one host.

    `name`: of the MX host or smarthost, for SNI and the check of its certificate. `address`: an IP
    address. `source`: the local address to connect from, "" for any.
    """

    name: str
    address: str
    port: int = 25
    source: str = ""

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.name} ({address}:{self.port})"


class PeerStep(Enum):
    """Where a connection failed."""

    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    HELLO = "hello"
    AUTH = "auth"


class PeerUnusable(LinkFailed):
    """The peer cannot be used now. `str()` is public and complete.

    `code`, `enhanced` and `text` are the peer's reply where it gave one, else 0 and "". Only a
    refusal that the peer called permanent `is_permanent`: nothing that fails before is.
    `tls_result`: the result type of RFC 8460 §4.3 where TLS was the reason, else "".
    """

    def __init__(
        self,
        step: PeerStep,
        message: str,
        *,
        code: int = 0,
        enhanced: str = "",
        text: str = "",
        tls_result: str = "",
    ) -> None:
        super().__init__(message)
        self.step = step
        self.code = code
        self.enhanced = enhanced
        self.text = text
        self.tls_result = tls_result

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500


class _TlsBroken(Exception):
    """A handshake failed; less may be allowed. `is_certificate`: only for what it proves."""

    def __init__(self, problem: Problem, *, is_certificate: bool = False) -> None:
        super().__init__(problem.text)
        self.problem = problem
        self.is_certificate = is_certificate


class _Try(Enum):
    """How a connection is protected, the best first."""

    DANE = "dane"
    WEBPKI = "webpki"
    ENCRYPTED = "encrypted"
    PLAIN = "plain"


async def open_peer(
    destination: Destination,
    tls: HostTls,
    settings: ClientSettings,
    contexts: TlsContexts,
    credentials: Credentials | None = None,
) -> PeerLink:
    """A link that is ready for `transact`; `link.tls` says how it is protected.

    Raises PeerUnusable. Credentials are sent over TLS or to a loopback address only.
    """
    opening = _Opening(destination, tls, settings, contexts)
    link = await opening.connect_as_demanded()
    if credentials is not None:
        try:
            await _log_in(link, destination, credentials)
        except BaseException:
            link.abort()
            raise
    return link


class _Opening:
    """One call of `open_peer`: its tries, each on a connection of its own."""

    def __init__(
        self,
        destination: Destination,
        tls: HostTls,
        settings: ClientSettings,
        contexts: TlsContexts,
    ) -> None:
        self._destination = destination
        self._name = destination.name or destination.address
        self._tls = tls
        self._settings = settings
        self._contexts = contexts
        self._problem: Problem | None = None  # why it is not better than it is

    async def connect_as_demanded(self) -> PeerLink:
        tries = self._tries()
        while True:
            this = tries.pop(0)
            try:
                return await self._connect(this)
            except _TlsBroken as broken:
                self._problem = broken.problem
                self._remember(broken)
                if not broken.is_certificate and _Try.PLAIN in tries:
                    tries = [_Try.PLAIN]
                if not tries:
                    raise self._refused(broken.problem) from broken

    def _tries(self) -> list[_Try]:
        if not self._tls.is_offered:
            return [_Try.PLAIN]
        match self._tls.need:
            case Need.DANE:
                return [_Try.DANE]
            case Need.VERIFIED:
                return [_Try.WEBPKI]
        tries = [_Try.WEBPKI, _Try.ENCRYPTED]
        if self._tls.need is Need.NONE and not self._tls.is_implicit:
            tries.append(_Try.PLAIN)
            self._problem = self._contexts.broken.get(self._name)
            if self._problem is not None:
                return [_Try.PLAIN]
        self._problem = self._contexts.unverifiable.get(self._name)
        return tries if self._problem is None else tries[1:]

    def _remember(self, broken: _TlsBroken) -> None:
        memory = self._contexts.unverifiable if broken.is_certificate else self._contexts.broken
        memory.put(self._name, broken.problem)

    def _refused(self, problem: Problem) -> PeerUnusable:
        why = f" ({self._tls.why})" if self._tls.why else ""
        return PeerUnusable(
            PeerStep.TLS,
            f"{self._name}: TLS that must be used{why} failed: {problem.text}",
            tls_result=problem.tls_result,
        )

    async def _connect(self, this: _Try) -> PeerLink:
        """A link with this protection, or in clear where that is allowed and no TLS is offered.

        Raises _TlsBroken, PeerUnusable.
        """
        link = PeerLink(ClientSession(self._settings, is_tls=self._tls.is_implicit), FAR)
        step = PeerStep.CONNECT
        try:
            await _dial(link, self._destination)
            if self._tls.is_implicit:
                step = PeerStep.TLS
                tls = self._layer(this)
                await _shake_hands(link.handshake(tls))
                self._examine(link, tls, this)
            step = PeerStep.GREETING
            await link.take_greeting()
            step = PeerStep.HELLO
            await link.hello()
            if this is not _Try.PLAIN and not self._tls.is_implicit:
                step = PeerStep.TLS
                await self._secure(link, this)
        except StepRefused as refused:
            link.abort()
            raise _unusable(self._name, refused, step) from refused
        except LinkFailed as failed:
            link.abort()
            if isinstance(failed, PeerUnusable):
                raise
            raise PeerUnusable(step, f"{self._name}: {failed}") from failed
        except BaseException:
            link.abort()
            raise
        if not link.tls.is_tls and self._problem is not None:
            problem = self._problem
            link.tls = TlsFacts(problem=problem.text, tls_result=problem.tls_result)
        return link

    def _layer(self, this: _Try) -> TlsLayer:
        check = Check.WEBPKI if this is _Try.WEBPKI else Check.NOTHING
        try:
            name = self._tls.server_name or self._name
            return self._contexts.layer(check, name, resumes=this is not _Try.DANE)
        except TlsFailed as error:
            raise _TlsBroken(Problem(str(error), "validation-failure")) from error

    async def _secure(self, link: PeerLink, this: _Try) -> None:
        """STARTTLS where it is offered, and hello again."""
        if "STARTTLS" not in link.extensions:
            problem = Problem("it offers no STARTTLS", "starttls-not-supported")
            self._problem = problem
            if self._tls.need > Need.NONE:
                raise self._refused(problem)
            return
        tls = self._layer(this)
        try:
            await _shake_hands(link.start_tls(tls))
        except StepRefused as error:
            raise _TlsBroken(Problem(f"STARTTLS: {error}", "starttls-not-supported")) from error
        except LinkFailed as error:  # closed, or octets in clear behind the 220
            raise _TlsBroken(Problem(f"STARTTLS: {error}", "validation-failure")) from error
        self._examine(link, tls, this)
        try:
            await link.hello()
        except LinkFailed as error:
            if link.is_usable or self._tls.need > Need.NONE:
                raise
            # it went silent or away as soon as TLS was up: broken TLS too, as chasquid sees it
            raise _TlsBroken(Problem(f"EHLO after TLS: {error}", "validation-failure")) from error

    def _examine(self, link: PeerLink, tls: TlsLayer, this: _Try) -> None:
        """Check what the handshake left to check, and write down what the link has."""
        how = ""
        if this is _Try.WEBPKI:
            how = "webpki"
        elif this is _Try.DANE:
            why_not = check_chain(tls.peer_chain(), self._tls.tlsa, (self._name, *self._tls.names))
            if why_not:
                raise _TlsBroken(Problem(why_not, "validation-failure"), is_certificate=True)
            how = "dane"
        problem = self._problem if not how else None
        link.tls = TlsFacts(
            tls.version,
            tls.cipher,
            how,
            tls.is_resumed,
            problem.text if problem else "",
            problem.tls_result if problem else "",
        )
        if this is not _Try.DANE:
            check = Check.WEBPKI if this is _Try.WEBPKI else Check.NOTHING
            link.when_ended = partial(self._contexts.keep_session, check, self._name, tls)


async def _dial(link: PeerLink, destination: Destination) -> None:
    """Raises LinkFailed."""
    loop = asyncio.get_running_loop()
    local = (destination.source, 0) if destination.source else None
    try:
        async with asyncio.timeout(FAR.connect):
            await loop.create_connection(
                lambda: link, destination.address, destination.port, local_addr=local
            )
    except TimeoutError:
        raise LinkFailed(f"no connection in {FAR.connect:g} s") from None
    except OSError as error:
        raise LinkFailed(f"no connection: {error.strerror or error}") from error


async def _shake_hands(handshake: Coroutine[Any, Any, None]) -> None:
    """Raises _TlsBroken, and LinkFailed of what stands around it."""
    try:
        await handshake
    except CertificateRefused as error:
        result = _RESULTS.get(error.code, "validation-failure")
        problem = Problem(f"its certificate proves nothing: {error}", result)
        raise _TlsBroken(problem, is_certificate=True) from error
    except TlsFailed as error:
        raise _TlsBroken(Problem(f"handshake failed: {error}", "validation-failure")) from error


# errors of OpenSSL's verification (x509_vfy.h) in the terms of RFC 8460 §4.3
_RESULTS = {
    10: "certificate-expired",
    62: "certificate-host-mismatch",
    64: "certificate-host-mismatch",
} | dict.fromkeys((2, 18, 19, 20, 21, 26, 27, 28), "certificate-not-trusted")


def _unusable(name: str, refused: StepRefused, step: PeerStep) -> PeerUnusable:
    reply = refused.reply
    if refused.step is Step.AUTH:
        step = PeerStep.AUTH
    return PeerUnusable(
        step,
        f"{name}: {refused}",
        code=reply.code,
        enhanced=reply.enhanced,
        text=reply.text,
    )


async def _log_in(link: PeerLink, destination: Destination, credentials: Credentials) -> None:
    """Raises PeerUnusable."""
    name = destination.name or destination.address
    if not (link.tls.is_tls or ip_address(destination.address.partition("%")[0]).is_loopback):
        raise PeerUnusable(PeerStep.AUTH, f"{name}: credentials are not sent without TLS")
    offered = link.extensions.get("AUTH", "")
    exchange = choose_exchange(credentials, offered)
    if exchange is None:
        offers = f"only {offered}" if offered else "no AUTH"
        raise PeerUnusable(PeerStep.AUTH, f"{name}: no way to log in: it offers {offers}")
    try:
        await link.authenticate(exchange)
    except StepRefused as refused:
        raise _unusable(name, refused, PeerStep.AUTH) from refused
    except LinkFailed as failed:
        raise PeerUnusable(PeerStep.AUTH, f"{name}: {failed}") from failed
