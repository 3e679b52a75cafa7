"""The key files of a domain, made and read by commands, and what DNS says of them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.cli.user_files import domain_folder, give_to_server
from relevo.config import DomainFolder
from relevo.config.layout import DkimKeyFile, domains_dir
from relevo.directory.replacement import exclusive, replace_file
from relevo.dns import DnsFailed, Resolver, parse_server, system_servers
from relevo.mailauth.dkim.key_files import read_key_file
from relevo.mailauth.dkim.key_record import BadKey, select_key
from relevo.mailauth.dkim.private_key import (
    BadPrivateKey,
    KeyKind,
    SigningKey,
    key_record,
    make_private_key,
    private_key_pem,
)

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.dns import DnsLookups

_MODE = 0o600
_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class DkimRefused(Exception):
    """What was asked for cannot be done; the text says why and what to do."""


def folder_of(config_dir: Path, domain: str) -> Path:
    """The folder of a domain. Raises DkimRefused where there is none."""
    folder = domain_folder(config_dir, domain)
    if folder is None:
        raise DkimRefused(f"there is no domain {domain} in {domains_dir(config_dir)}")
    return folder


def keys_of(config_dir: Path, domain: str) -> tuple[SigningKey, ...]:
    """The keys that sign for a domain. Raises DkimRefused."""
    folder = folder_of(config_dir, domain)
    try:
        files = DomainFolder(domain, folder).dkim_keys()
        return tuple(read_file(domain, file) for file in files)
    except OSError as error:
        raise DkimRefused(f"{error.filename}: {error.strerror}") from error


def read_file(domain: str, file: DkimKeyFile) -> SigningKey:
    """The key of a file. Raises DkimRefused, OSError."""
    try:
        return read_key_file(domain, file)
    except BadPrivateKey as error:
        raise DkimRefused(f"{file.path}: {error}") from error


def unused_selector(folder: Path, now: float) -> str:
    """The date, with a letter where a key of that name exists."""
    today = time.strftime("%Y%m%d", time.gmtime(now))
    names = [path.name for path in folder.iterdir()]
    for selector in (today, *(today + letter for letter in _LETTERS)):
        if not any(name.startswith(f"dkim:{selector}.") for name in names):
            return selector
    raise DkimRefused(f"{folder} has too many keys of today; name one with --selector")


def write_key(
    folder: Path, selector: str, kind: KeyKind, config_dir: Path, user: str, ending: str = ".pem"
) -> Path:
    """Make a key for the server's user; the path of its file. Raises DkimRefused, OSError."""
    if not all(map(_SELECTOR.fullmatch, selector.split("."))):
        raise DkimRefused(f"{selector!r} is no selector: use letters, digits and -")
    path = folder / f"dkim:{selector}{ending}"
    pem = private_key_pem(make_private_key(kind))
    with exclusive(folder):
        if any(other.name.startswith(f"dkim:{selector}.pem") for other in folder.iterdir()):
            raise DkimRefused(f"{folder} has a key with the selector {selector} already")
        replace_file(path, pem, mode=_MODE)
        give_to_server(path, config_dir, user)
    return path


def resolver_of(config: Config) -> Resolver:
    """Look-ups as the server makes them, for the loop that runs."""
    servers = [parse_server(server) for server in config.dns.servers] or system_servers()
    return Resolver(servers, timeout_s=config.dns.timeout.total_seconds())


async def published(key: SigningKey, resolver: DnsLookups) -> str:
    """Why the key's record cannot be used; "" when it stands in DNS as it should."""
    try:
        answer = await resolver.txt(f"{key.selector}._domainkey.{key.domain}")
        found = select_key(answer.records)
    except DnsFailed as error:
        return f"DNS does not answer: {error}"
    except BadKey as error:
        return str(error)
    if found != select_key((key_record(key.key).encode(),)):
        return "another key stands there"
    return ""
