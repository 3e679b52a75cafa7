"""Commands about DKIM keys: dkim-keygen, dkim-dns."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from relevo.cli.chasquid_util.arguments import Arguments, Refused
from relevo.cli.chasquid_util.users import domain_of
from relevo.cli.user_files import domain_folder
from relevo.config import DomainFolder
from relevo.config.layout import domains_dir
from relevo.directory.replacement import replace_file
from relevo.mail.address import domain_to_ascii

_MODE = 0o660
_RSA_BITS = {"rsa3072": 3072, "rsa4096": 4096}
_DEFAULT = "rsa3072"
_EXPONENT = 65537

Key = RSAPrivateKey | Ed25519PrivateKey


def dkim_keygen(arguments: Arguments) -> None:
    """Make a key, and print what has to stand in DNS."""
    domain, folder = _domain(arguments)
    selector = arguments.word(2) or time.strftime("%Y%m%d", time.gmtime())
    path = _path(arguments, folder, selector)
    algorithm = arguments.options.get("--algo") or _DEFAULT
    if path.exists():
        raise Refused(f'Error: key already exists at "{path}"')
    key: Key
    if algorithm in _RSA_BITS:
        key = generate_private_key(_EXPONENT, _RSA_BITS[algorithm])
    elif algorithm == "ed25519":
        key = Ed25519PrivateKey.generate()
    else:
        raise Refused(f'Error: unsupported algorithm "{algorithm}"')
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        replace_file(path, pem, mode=_MODE)
        _give_to_owner(path)
    except OSError as error:
        raise Refused(f'Error creating key file "{path}": {error.strerror}') from error
    click.echo(f'Key written to "{path}"\n\n{_record(domain, selector, key)}')


def dkim_dns(arguments: Arguments) -> None:
    """Print what has to stand in DNS for a key; the first of the domain if none is named."""
    domain, folder = _domain(arguments)
    selector = arguments.word(2) or _first_selector(domain, folder)
    path = _path(arguments, folder, selector)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise Refused(f'Error reading key "{path}": {error.strerror}') from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refused(f'Error reading key "{path}": {error}') from error
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise Refused(f'Error reading key "{path}": neither RSA nor Ed25519')
    click.echo(_record(domain, selector, key))


def _domain(arguments: Arguments) -> tuple[str, Path]:
    """The domain and its folder, which may be missing."""
    if not arguments.word(1):
        raise Refused("Error: missing domain parameter")
    domain = domain_of(arguments)
    folder = domain_folder(arguments.config_dir, domain)
    return domain, folder or domains_dir(arguments.config_dir) / domain


def _path(arguments: Arguments, folder: Path, selector: str) -> Path:
    named = arguments.word(3)
    if not named and "/" in selector:
        raise Refused(f'Error: "{selector}" is no selector')
    return Path(named) if named else folder / f"dkim:{selector}.pem"


def _first_selector(domain: str, folder: Path) -> str:
    try:
        keys = DomainFolder(domain, folder).dkim_keys()
    except OSError:
        keys = ()
    if not keys:
        raise Refused(f'No DKIM keys found in "{folder}"')
    return keys[0].selector


def _record(domain: str, selector: str, key: Key) -> str:
    """RFC 6376 §3.6.1, RFC 8463 §4.2: of Ed25519 the bare key, of RSA its SubjectPublicKeyInfo."""
    if isinstance(key, RSAPrivateKey):
        kind = "rsa"
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind = "ed25519"
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    encoded = base64.b64encode(public).decode("ascii")
    name = f"{selector}._domainkey.{domain_to_ascii(domain)}"
    return f'{name}\tTXT\t"v=DKIM1; k={kind}; p={encoded}"'


def _give_to_owner(path: Path) -> None:
    """What root has made is for the server, which owns the folder."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
