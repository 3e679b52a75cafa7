"""Certificates: `certs/<name>/{fullchain,privkey}.pem` into TLS contexts, chosen by SNI.

TLS 1.2 and newer; no session tickets (a client bug made them unsafe to offer) and no client
certificates. The first folder in name order answers clients that name nobody we have.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

if TYPE_CHECKING:
    from pathlib import Path


# OpenSSL's list for TLS 1.2: what has no certificate has no place here (RFC 9325 §4.1).
CIPHERS = "HIGH:!aNULL:!eNULL:!PSK:!SRP"

_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+")
_UNREADABLE = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


class CertificateError(Exception):
    """A certificate or key cannot be used; the text names the file."""


@dataclass(frozen=True, slots=True)
class _Pair:
    chain: Path
    key: Path
    stamp: tuple[int, ...]


def find_pairs(certs: Path) -> list[_Pair]:
    """Complete pairs below the folder, in name order."""
    pairs: list[_Pair] = []
    try:
        folders = sorted(entry for entry in certs.iterdir() if entry.is_dir())
    except OSError:
        return []
    for folder in folders:
        chain, key = folder / "fullchain.pem", folder / "privkey.pem"
        try:
            stats = (chain.stat(), key.stat())
        except OSError:
            continue
        stamp = tuple(
            part for stat in stats for part in (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        )
        pairs.append(_Pair(chain, key, stamp))
    return pairs


class Certificates:
    """The certificates of a config directory as one default context with SNI."""

    def __init__(self, certs: Path) -> None:
        self._certs = certs
        self._pairs: list[_Pair] = []
        self._by_name: dict[str, ssl.SSLContext] = {}
        self.context: ssl.SSLContext | None = None

    def refresh(self) -> bool:
        """Read them again when a file changed. Raises CertificateError; then the old ones stay.

        So they do when none is left: whoever renews them may be in the middle of it, and clients
        that log in need TLS.
        """
        pairs = find_pairs(self._certs)
        if pairs == self._pairs:
            return False
        if not pairs:
            raise CertificateError(f"{self._certs}: no certificate with its key is left")
        by_name: dict[str, ssl.SSLContext] = {}
        default: ssl.SSLContext | None = None
        for pair in pairs:
            context = _make_context(pair)
            context.sni_callback = self._choose
            default = default or context
            for name in _names(pair.chain):
                by_name.setdefault(name, context)
        self._pairs, self._by_name, self.context = pairs, by_name, default
        return True

    def _choose(
        self, tls: ssl.SSLObject, server_name: str | None, _context: ssl.SSLContext
    ) -> None:
        name = (server_name or "").lower()
        if not _HOST_NAME.fullmatch(name):
            return  # a client may ask for anything, and we put the name into our replies and fields
        context = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        if context is not None:
            tls.context = context
            tls.chosen_name = name  # type: ignore[attr-defined]  # read back by relevo.tls_layer


def expiries(certs: Path) -> dict[str, float]:
    """The end of validity of each pair's certificate by folder, seconds since the epoch.

    What cannot be read is left out: whoever starts or reloads is told of it.
    """
    found: dict[str, float] = {}
    for pair in find_pairs(certs):
        with contextlib.suppress(ValueError, OSError, IndexError):
            leaf = x509.load_pem_x509_certificates(pair.chain.read_bytes())[0]
            found[pair.chain.parent.name] = leaf.not_valid_after_utc.timestamp()
    return found


def _make_context(pair: _Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_ciphers(CIPHERS)
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key, and wait.
        context.load_cert_chain(pair.chain, pair.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"{pair.chain}: cannot load certificate and key: {error}") from error
    return context


def _names(chain: Path) -> list[str]:
    """DNS names of the leaf certificate, A-labels, lower case."""
    try:
        certificate = x509.load_pem_x509_certificates(chain.read_bytes())[0]
        extension = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        )
    except (*_UNREADABLE, ValueError, OSError, IndexError):
        return []
    assert isinstance(extension.value, x509.SubjectAlternativeName)
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]
