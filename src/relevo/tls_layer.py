"""TLS inside our own protocol classes, on `ssl.MemoryBIO`, as a server and as a client.

Why not asyncio's layer: it costs 24–278 KiB a connection where this costs 17.5, and with it
decrypted data may arrive before `start_tls` returns. Here the order is ours: the first decrypted
octet is seen only after the session was told that TLS is up.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECORD = 16384  # octets; the largest TLS record (RFC 8446 §5.1)
_VERSION_NAMES = {"TLSv1.2": "TLS-1.2", "TLSv1.3": "TLS-1.3"}


class TlsFailed(Exception):
    """The handshake or a record is broken: drop the connection and every buffer."""


class CertificateRefused(TlsFailed):
    """The peer's certificate does not prove what the context demands; the text says why."""

    def __init__(self, error: ssl.SSLCertVerificationError) -> None:
        super().__init__(error.verify_message)
        self.code = error.verify_code  # X509_V_ERR_… of OpenSSL


class TlsClosed(Exception):
    """The peer ended TLS in order (close_notify)."""


class TlsLayer:
    """One side of one TLS connection; octets in, octets out, no I/O."""

    __slots__ = ("_incoming", "_object", "_outgoing", "is_up")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """The server's side, or with `server_name` the client's: whom to ask for by SNI.

        `session`: of a former connection by the same context, to be resumed if the server will.
        """
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
            session=session,
        )
        self.is_up = False

    def receive(self, data: bytes) -> None:
        """Ciphertext from the peer; then call `handshake` or `plaintext`."""
        self._incoming.write(data)

    def handshake(self) -> bool:
        """Go on with the handshake; True once TLS is up. Raises TlsFailed."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise CertificateRefused(error) from error
        except (ssl.SSLError, OSError, ValueError) as error:
            raise TlsFailed(str(error)) from error
        self.is_up = True
        return True

    def plaintext(self) -> Iterator[bytes]:
        """What the received records hold. Raises TlsFailed, TlsClosed."""
        while True:
            try:
                data = self._object.read(_RECORD)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError as error:
                raise TlsClosed from error
            except (ssl.SSLError, OSError, ValueError) as error:
                raise TlsFailed(str(error)) from error
            if not data:
                raise TlsClosed
            yield data

    def send(self, data: bytes) -> None:
        """Plaintext for the peer; its ciphertext is in `take_output`. Raises TlsFailed."""
        try:
            self._object.write(data)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise TlsFailed(str(error)) from error

    def take_output(self) -> bytes:
        """Ciphertext to be written to the peer now."""
        return self._outgoing.read()

    def end(self) -> None:
        """Queue close_notify; the answer is not waited for."""
        try:
            self._object.unwrap()
        except (ssl.SSLError, OSError, ValueError):
            return

    @property
    def server_name(self) -> str:
        """The name that the client asked for by SNI and a certificate of ours has, or ""."""
        return str(getattr(self._object, "chosen_name", ""))

    @property
    def version(self) -> str:
        """`TLS-1.3` or `TLS-1.2`."""
        version = self._object.version() or ""
        return _VERSION_NAMES.get(version, version)

    @property
    def cipher(self) -> str:
        """Name of the cipher suite, as OpenSSL says it."""
        cipher = self._object.cipher()
        return cipher[0] if cipher else ""

    @property
    def context(self) -> ssl.SSLContext:
        """The one it was made with, where its session may be used again."""
        return self._object.context

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection may resume; TLS 1.3 gives it some time after the handshake."""
        session = self._object.session
        return session if session is not None and session.has_ticket else None

    @property
    def is_resumed(self) -> bool:
        """Was the session of a former connection taken up?"""
        return bool(self._object.session_reused)

    def peer_chain(self) -> tuple[bytes, ...]:
        """The peer's certificates as it sent them, DER, its own first; unverified."""
        # public from Python 3.13 on
        inner = getattr(self._object, "_sslobj", None)
        read = getattr(inner, "get_unverified_chain", None)
        chain = read() if read is not None else None
        if chain:
            return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain)
        leaf = self._object.getpeercert(binary_form=True)
        return (leaf,) if leaf else ()

    def channel_binding(self) -> bytes | None:
        """tls-unique data for SCRAM-…-PLUS (RFC 5929); None on TLS 1.3, which has none."""
        if self._object.version() == "TLSv1.3":
            return None
        return self._object.get_channel_binding("tls-unique")
