"""Commands about DKIM keys: dkim-keygen, dkim-dns."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from relevo.cli.chasquid_util.arguments import Arguments, Refused
from relevo.cli.chasquid_util.users import domain_of
from relevo.cli.user_files import domain_folder
from relevo.config import DomainFolder
from relevo.config.layout import domains_dir
from relevo.directory.replacement import replace_file
from relevo.mailauth.dkim.private_key import (
    BadPrivateKey,
    KeyKind,
    PrivateKey,
    key_record,
    make_private_key,
    private_key_pem,
    read_private_key,
    record_name,
)

_MODE = 0o660
_DEFAULT = "rsa3072"
_KINDS = {kind.value: kind for kind in (KeyKind.RSA_3072, KeyKind.RSA_4096, KeyKind.ED25519)}


def dkim_keygen(arguments: Arguments) -> None:
    """Make a key, and print what has to stand in DNS."""
    domain, folder = _domain(arguments)
    selector = arguments.word(2) or time.strftime("%Y%m%d", time.gmtime())
    path = _path(arguments, folder, selector)
    algorithm = arguments.options.get("--algo") or _DEFAULT
    if path.exists():
        raise Refused(f'Error: key already exists at "{path}"')
    if algorithm not in _KINDS:
        raise Refused(f'Error: unsupported algorithm "{algorithm}"')
    key = make_private_key(_KINDS[algorithm])
    try:
        replace_file(path, private_key_pem(key), mode=_MODE)
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
        key = read_private_key(path.read_bytes())
    except OSError as error:
        raise Refused(f'Error reading key "{path}": {error.strerror}') from error
    except BadPrivateKey as error:
        raise Refused(f'Error reading key "{path}": {error}') from error
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


def _record(domain: str, selector: str, key: PrivateKey) -> str:
    """The record as one string, however long: what chasquid-util prints."""
    return f'{record_name(domain, selector)}\tTXT\t"{key_record(key)}"'


def _give_to_owner(path: Path) -> None:
    """What root has made is for the server, which owns the folder."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
