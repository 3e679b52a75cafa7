"""Are the certificates of certs/ usable? Looks at the files; makes no TLS context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from relevo.config.layout import CertificateFolder
from relevo.config.problems import Problem, Severity
from relevo.mail import InvalidAddress, domain_to_ascii, normalize_domain

EXPIRY_WARNING = timedelta(days=14)
"""A certificate that ends sooner should have been renewed by now."""

MAX_PEM_SIZE = 1024 * 1024

_WARNING = Severity.WARNING


class UnusablePem(Exception):
    """A PEM file that cannot be read or is not what it should be; the text says why."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """The names of one certificate and what is wrong with it."""

    names: frozenset[str]
    problems: tuple[Problem, ...]


def check_certificates(
    folders: Sequence[CertificateFolder], hostname: str, now: datetime
) -> list[Problem]:
    """Problems of the certificates; `now` has a time zone.

    Unreadable PEM and a key that does not fit are errors: the server cannot start with them.
    Expiry, and a host name that no certificate is for, are warnings.
    """
    checked = [_check(folder, now) for folder in folders]
    problems = [problem for one in checked for problem in one.problems]
    names = frozenset(name for one in checked for name in one.names)
    if names and not _covers(names, hostname):
        text = f"no certificate is for the host name {hostname}"
        hint = f"they are for {', '.join(sorted(names)[:10])}"
        problems.append(Problem(str(folders[0].chain.parent.parent), 0, "", text, hint, _WARNING))
    return problems


def _check(folder: CertificateFolder, now: datetime) -> _Checked:
    problems = [*key_file_exposed(folder.key)]
    try:
        leaf = _leaf(read_pem(folder.chain))
    except UnusablePem as error:
        return _Checked(frozenset(), (*problems, Problem(str(folder.chain), 0, "", str(error))))
    problems += _validity(folder.chain, leaf, now)
    try:
        own = load_pem_private_key(read_pem(folder.key), None).public_key()
    except UnusablePem as error:
        problems.append(Problem(str(folder.key), 0, "", str(error)))
    except TypeError:
        problems.append(Problem(str(folder.key), 0, "", "the key is encrypted with a passphrase"))
    except (ValueError, UnsupportedAlgorithm):
        problems.append(Problem(str(folder.key), 0, "", "the file has no usable key in PEM form"))
    else:
        if not _fits(own, leaf):
            text = f"the key does not belong to the certificate in {folder.chain.name}"
            hint = "the server's own certificate comes first in that file"
            problems.append(Problem(str(folder.key), 0, "", text, hint))
    return _Checked(_names(leaf), tuple(problems))


def _fits(public: PublicKeyTypes, leaf: x509.Certificate) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        return public.public_bytes(*form) == leaf.public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        return False  # a key of a kind that TLS does not know


def _leaf(data: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(data)[0]
    except ValueError as error:
        raise UnusablePem("the file has no certificate in PEM form") from error


def _validity(path: Path, leaf: x509.Certificate, now: datetime) -> Iterator[Problem]:
    end = leaf.not_valid_after_utc
    if now > end:
        text = f"the certificate expired on {end:%Y-%m-%d}"
        yield Problem(str(path), 0, "", text, "renew it; careful clients refuse it", _WARNING)
    elif now > end - EXPIRY_WARNING:
        text = f"the certificate expires on {end:%Y-%m-%d}"
        yield Problem(str(path), 0, "", text, "renew it", _WARNING)
    if now < leaf.not_valid_before_utc:
        text = f"the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        yield Problem(str(path), 0, "", text, "is the clock right?", _WARNING)


def _names(leaf: x509.Certificate) -> frozenset[str]:
    """The DNS names, lower case; the subject's common name is no name (RFC 9525 §2)."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return frozenset()
    return frozenset(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def _covers(names: frozenset[str], hostname: str) -> bool:
    """A wildcard stands for exactly one label (RFC 9525 §6.3)."""
    try:
        ascii_name = domain_to_ascii(normalize_domain(hostname))
    except InvalidAddress:
        return False
    return ascii_name in names or f"*.{ascii_name.partition('.')[2]}" in names


def read_pem(path: Path) -> bytes:
    """The content; raises UnusablePem."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_SIZE + 1)
    except OSError as error:
        raise UnusablePem(f"the file cannot be read: {error.strerror}") from error
    if len(data) > MAX_PEM_SIZE:
        raise UnusablePem(f"the file is larger than {MAX_PEM_SIZE} octets")
    return data


def key_file_exposed(path: Path) -> Iterator[Problem]:
    """A warning when every user of the machine may read a private key."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # reading it will tell
    if mode & 0o004:
        text = f"every user of this machine can read the private key (mode {mode & 0o777:04o})"
        yield Problem(str(path), 0, "", text, f"chmod o-rwx {path}", _WARNING)
