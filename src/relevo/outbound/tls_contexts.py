"""TLS contexts for connections to other servers, and what is remembered of hosts' TLS.

One object a worker; every context is made once, when it is first needed. Remembered are, for a
bounded number of hosts and a bounded time: sessions that can be resumed, hosts whose certificate
proved nothing, and hosts whose TLS is broken, so that each costs its failed handshakes once.
"""

from __future__ import annotations

import ssl
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from relevo.tls_layer import TlsFailed, TlsLayer

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION_S = 3600.0
UNVERIFIABLE_S = 3600.0
BROKEN_S = 600.0  # short: whoever cuts a handshake once must not have clear text for long
MAX_HOSTS = 2000
# What a peer has is better than clear text where nothing is demanded of it.
_ANY_CIPHERS = "DEFAULT:@SECLEVEL=1"

V = TypeVar("V")


class Check(Enum):
    """What a handshake proves."""

    WEBPKI = "webpki"  # a certificate of a known authority for the host's name
    NOTHING = "nothing"  # the handshake passes with any; DANE looks at it afterwards


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a host's TLS is not what it could be."""

    text: str
    tls_result: str  # RFC 8460 §4.3


class TlsContexts:
    """Contexts and memory of one worker."""

    def __init__(self, ca_file: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        """`ca_file`: authorities that are trusted instead of the system's."""
        self._ca_file = ca_file
        self._sessions: _Memory[tuple[Check, str], ssl.SSLSession] = _Memory(SESSION_S, clock)
        self.unverifiable: _Memory[str, Problem] = _Memory(UNVERIFIABLE_S, clock)
        self.broken: _Memory[str, Problem] = _Memory(BROKEN_S, clock)

    def use(self, ca_file: str) -> None:
        """Read the authorities anew; what the old ones proved or did not is forgotten."""
        self._ca_file = ca_file
        self.__dict__.pop("verifying", None)
        self._sessions.clear()
        self.unverifiable.clear()

    def layer(self, check: Check, name: str, *, resumes: bool = True) -> TlsLayer:
        """TLS for a new connection to the host of this name. Raises TlsFailed."""
        session = self._sessions.get((check, name)) if resumes else None
        try:
            context = self.verifying if check is Check.WEBPKI else self._unverifying
        except OSError as error:  # the file of authorities has gone since the start
            raise TlsFailed("the trusted authorities cannot be read") from error
        try:
            return TlsLayer(context, server_name=name, session=session)
        except (ValueError, UnicodeError) as error:  # no name for SNI: an empty label, or too long
            raise TlsFailed(f"{name!r} is no name for TLS") from error

    def keep_session(self, check: Check, name: str, tls: TlsLayer) -> None:
        """Remember the session of a connection that ends."""
        is_current = tls.context in (self.__dict__.get("verifying"), self._unverifying)
        session = tls.session if is_current else None
        if session is not None:
            self._sessions.put((check, name), session)

    @cached_property
    def verifying(self) -> ssl.SSLContext:
        """Demands a certificate of a known authority for the name that is asked for."""
        context = _client_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        else:
            context.load_default_certs()
        return context

    @cached_property
    def _unverifying(self) -> ssl.SSLContext:
        context = _client_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers(_ANY_CIPHERS)
        return context


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False
    return context


K = TypeVar("K")


class _Memory(Generic[K, V]):
    """A bounded mapping whose entries end after some time."""

    def __init__(self, lifetime_s: float, clock: Callable[[], float]) -> None:
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._lifetime_s = lifetime_s
        self._clock = clock

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            del self._entries[key]
            return None
        return entry[1]

    def clear(self) -> None:
        self._entries.clear()

    def put(self, key: K, value: V) -> None:
        self._entries[key] = (self._clock() + self._lifetime_s, value)
        self._entries.move_to_end(key)
        if len(self._entries) > MAX_HOSTS:
            self._entries.popitem(last=False)
