"""A certificate authority of a test: certificates for any name, right or expired."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key, and who signed it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()  # above it, as a server sends them

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_der(self) -> bytes:
        return self.certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        return (self.der, *(each.public_bytes(Encoding.DER) for each in self.chain))

    def write(self, folder: Path) -> Path:
        """fullchain.pem and privkey.pem in `folder`; the path of the first."""
        folder.mkdir(parents=True, exist_ok=True)
        chain = folder / "fullchain.pem"
        chain.write_bytes(
            b"".join(c.public_bytes(Encoding.PEM) for c in (self.certificate, *self.chain))
        )
        key = folder / "privkey.pem"
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key.chmod(0o600)
        return chain

    def sign(self, *names: str) -> Certificate:
        """One signed by this one, which need not be an authority's."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        issuer = self.certificate.subject
        signed = _sign(subject, key.public_key(), issuer, self.key, names=names)
        return Certificate(signed, key, (self.certificate, *self.chain))

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """For a server that has it; files are written to `folder`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.write(folder), folder / "privkey.pem")
        return context


class Authority:
    """Signs certificates, as a root or below another one."""

    def __init__(self, name: str = "Test authority", above: Authority | None = None) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._above = above
        signer = above or self
        self.certificate = _sign(
            self._name, self._key.public_key(), signer._name, signer._key, is_authority=True
        )

    @property
    def as_certificate(self) -> Certificate:
        return Certificate(self.certificate, self._key)

    def issue(self, *names: str, is_expired: bool = False, days: int = 30) -> Certificate:
        """A server's certificate for these DNS names, valid for so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        certificate = _sign(
            subject, key.public_key(), self._name, self._key,
            names=names, is_expired=is_expired, days=days,
        )  # fmt: skip
        chain = (self.certificate,) if self._above is not None else ()
        return Certificate(certificate, key, chain)

    def write(self, path: Path) -> Path:
        """Its own certificate, PEM."""
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path


def _sign(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    names: tuple[str, ...] = (),
    is_authority: bool = False,
    is_expired: bool = False,
    days: int = 30,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * DAY)
        .not_valid_after(now - DAY if is_expired else now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if names:
        general = [x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    if is_authority:
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, hashes.SHA256())
