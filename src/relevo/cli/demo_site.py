"""The folder of `relevo demo`: a whole config directory with one domain and one user.

    relevo.toml  certs/  domains/     what `relevo serve -C` would be given; made once, then yours
    password                          of the user, mode 0600
    mail/  data/                      mailboxes, and the server's own files

Nothing that exists is written again, so that mail, password and edits stay.
"""

from __future__ import annotations

import os
import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relevo.authn import make_credential, verify
from relevo.directory.users import parse_users
from relevo.directory.users_editing import set_user

DOMAIN = "example.test"
USER = "demo"
ADDRESS = f"{USER}@{DOMAIN}"
HOSTNAME = f"mail.{DOMAIN}"

_PASSWORD_LENGTH = 16
_VALIDITY = timedelta(days=3650)
_SETTINGS = f"""\
# Made by `relevo demo`, and yours from now on: it is not written again.
hostname = "{HOSTNAME}"
data_dir = "data"

[listen]
smtp = ["127.0.0.1:2525"]
submission = ["127.0.0.1:5587"]
submission_tls = ["127.0.0.1:4465"]

[server]
grace = "2s"

[delivery]
local = "maildir:mail/{{domain}}/{{user}}"

[mail_log]
path = "stdout"
format = "plain"

[log]
level = "warning"

[reload]
interval = "1s"
"""


@dataclass(frozen=True, slots=True)
class DemoSite:
    """Where it is; `password` is None when the user's was changed since."""

    folder: Path
    password: str | None

    @property
    def mailbox(self) -> Path:
        return self.folder / "mail" / DOMAIN / USER


def prepare(folder: Path) -> DemoSite:
    """Make whatever is missing below `folder`. Raises OSError, FileError."""
    domain = folder / "domains" / DOMAIN
    domain.mkdir(parents=True, exist_ok=True)
    _write_new(folder / "relevo.toml", _SETTINGS.encode(), mode=0o644)
    _write_new(domain / "aliases", f"postmaster: {USER}\n".encode(), mode=0o644)
    _make_certificate(folder / "certs" / HOSTNAME)
    return DemoSite(folder, _make_user(folder / "password", domain / "users"))


def _make_user(secret: Path, users: Path) -> str | None:
    """The password in force, if it is known."""
    alphabet = string.ascii_letters + string.digits
    fresh = "".join(secrets.choice(alphabet) for _ in range(_PASSWORD_LENGTH))
    _write_new(secret, f"{fresh}\n".encode(), mode=0o600)
    password = secret.read_text().strip()
    known = parse_users(users.read_bytes(), path=users) if users.exists() else {}
    if USER not in known:
        set_user(users, USER, make_credential(password.encode()))
        return password
    return password if verify(known[USER], password.encode(), user=ADDRESS) else None


def _make_certificate(folder: Path) -> None:
    """A self-signed certificate for the host name and for loopback."""
    chain, private = folder / "fullchain.pem", folder / "privkey.pem"
    if chain.exists() and private.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    chain.unlink(missing_ok=True)
    private.unlink(missing_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTNAME)])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [
        *map(x509.DNSName, (HOSTNAME, DOMAIN, "localhost")),
        x509.IPAddress(ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    _write_new(private, key.private_bytes(pem, form, serialization.NoEncryption()), mode=0o600)
    _write_new(chain, certificate.public_bytes(pem), mode=0o644)


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write the file unless there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
