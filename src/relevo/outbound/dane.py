"""DANE: a host's certificate checked by its TLSA records (RFC 7671, RFC 7672).

Of usage 3 (DANE-EE) the host's own certificate or key is what the record names; names and dates in
it mean nothing (RFC 7672 §3.1.1). Of usage 2 (DANE-TA) the record names an authority that signed
it, over others or directly, and the certificate has to be for one of the reference identifiers and
within its time (§3.1.2). Usages 0 and 1 are not used for mail (§3.1.3). All input is the peer's.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.dns import SecureLookups, TlsaRecord

USAGE_TA = 2
USAGE_EE = 3
_DIGEST_SIZES = {1: 32, 2: 64}  # matching type → octets of SHA-256 and SHA-512
MAX_CHAIN = 10  # certificates that are looked at
_UNREADABLE = (
    ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature,
    x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType,
)  # fmt: skip


async def tlsa_bases(
    lookups: SecureLookups, host: str, alias_of: str, *, is_secure: bool
) -> tuple[str, ...]:
    """Names below which TLSA records of a host may stand, in their order (RFC 7672 §2.2.2).

    An alias for whose whole way to the address DNSSEC vouches has them at its end, or where it
    begins; where it leads out of what is signed, only where it begins, if that is signed. Raises
    DnsFailed.
    """
    if not alias_of or alias_of == host:
        return (host,) if is_secure else ()
    if is_secure:
        return (alias_of, host)
    return (host,) if await lookups.is_alias_secure(host) else ()


def is_usable(record: TlsaRecord) -> bool:
    """Whether a certificate can be held against it (RFC 7672 §2.1.1, §3.1)."""
    if record.usage not in {USAGE_TA, USAGE_EE} or record.selector not in {0, 1}:
        return False
    if record.matching_type == 0:
        return _is_whole(record)
    return len(record.data) == _DIGEST_SIZES.get(record.matching_type)


def check_chain(
    chain: Sequence[bytes],
    records: Sequence[TlsaRecord],
    names: Sequence[str],
    *,
    now: datetime | None = None,
) -> str:
    """Why the chain (DER, the host's own certificate first) is not what the records name, or "".

    `names`: reference identifiers for usage 2, A-labels.
    """
    if not chain:
        return "it sent no certificate"
    try:
        certificates = [x509.load_der_x509_certificate(each) for each in chain[:MAX_CHAIN]]
        if any(r.usage == USAGE_EE and _matches(r, certificates[0]) for r in records):
            return ""
        authorities = [r for r in records if r.usage == USAGE_TA]
        if not authorities:
            return "its certificate is not the one that its TLSA records name"
        return _check_path(certificates, authorities, names, now or datetime.now(UTC))
    except _UNREADABLE as error:
        return f"its certificate cannot be read ({type(error).__name__})"


def _check_path(
    certificates: Sequence[x509.Certificate],
    records: Sequence[TlsaRecord],
    names: Sequence[str],
    now: datetime,
) -> str:
    """As `check_chain`, for records of usage 2."""
    length = _trusted_length(certificates, records)
    if not length:
        return "no authority that its TLSA records name signed its certificate"
    path = certificates[:length]
    if not all(c.not_valid_before_utc <= now <= c.not_valid_after_utc for c in path):
        return "a certificate of its chain is out of date"
    if not any(_is_for(path[0], name) for name in names):
        return f"its certificate is not for {' or '.join(names)}"
    return ""


def _trusted_length(certificates: Sequence[x509.Certificate], records: Sequence[TlsaRecord]) -> int:
    """How many certificates from the first on lead to an authority of the records; 0: none do.

    The authority stands in the chain, or only in the record itself where that holds it whole.
    """
    whole = [authority for record in records if (authority := _whole_certificate(record))]
    keys = [record for record in records if record.selector == 1 and record.matching_type == 0]
    for index, certificate in enumerate(certificates):
        if any(_matches(record, certificate) for record in records):
            return index + 1
        if any(_is_issued_by(certificate, authority) for authority in whole):
            return index + 1
        if any(_is_signed_with(certificate, record.data) for record in keys):
            return index + 1
        following = certificates[index + 1 : index + 2]
        if not following or not _is_issued_by(certificate, following[0]):
            return 0
    return 0


def _matches(record: TlsaRecord, certificate: x509.Certificate) -> bool:
    if record.selector == 0:
        selected = certificate.public_bytes(Encoding.DER)
    else:
        selected = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    match record.matching_type:
        case 1:
            selected = hashlib.sha256(selected).digest()
        case 2:
            selected = hashlib.sha512(selected).digest()
    return hmac.compare_digest(selected, record.data)


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if not _may_sign(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except _UNREADABLE:
        return False
    return True


def _may_sign(issuer: x509.Certificate) -> bool:
    """Is it an authority's certificate? (RFC 5280 §6.1.4)"""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            return False
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid
    return usage.key_cert_sign


def _is_signed_with(certificate: x509.Certificate, key: bytes) -> bool:
    """Whether the key of a record (2 1 0) made the certificate's signature."""
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        public = load_der_public_key(key)
        parameters = certificate.signature_algorithm_parameters
        algorithm = certificate.signature_hash_algorithm
        match public:
            case rsa.RSAPublicKey() if algorithm and isinstance(
                parameters, padding.AsymmetricPadding
            ):
                public.verify(signature, signed, parameters, algorithm)
            case ec.EllipticCurvePublicKey() if isinstance(parameters, ec.ECDSA):
                public.verify(signature, signed, parameters)
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                public.verify(signature, signed)
            case _:
                return False
    except _UNREADABLE:
        return False
    return True


def _whole_certificate(record: TlsaRecord) -> x509.Certificate | None:
    if record.selector != 0 or record.matching_type != 0:
        return None
    try:
        return x509.load_der_x509_certificate(record.data)
    except _UNREADABLE:
        return None


def _is_whole(record: TlsaRecord) -> bool:
    if record.selector == 0:
        return _whole_certificate(record) is not None
    try:
        load_der_public_key(record.data)
    except _UNREADABLE:
        return False
    return True


def _is_for(certificate: x509.Certificate, name: str) -> bool:
    """Has it this name, or a wildcard in place of its first label? (RFC 6125 §6.4)"""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    wanted = name.lower().removesuffix(".")
    _, dot, parent = wanted.partition(".")
    has = {each.lower() for each in extension.value.get_values_for_type(x509.DNSName)}
    return wanted in has or bool(dot and "." in parent and f"*.{parent}" in has)
