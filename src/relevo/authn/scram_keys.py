"""SCRAM keys of users, derived from passwords that were once proved (RFC 5802 §3).

A `users` file holds scrypt keys, from which no SCRAM key can be computed. So the first login with
a password leaves SCRAM keys in `users.scram` beside the file, a line for each user:

    NAME ENTRY ITERATIONS SALT STORED-KEY SERVER-KEY

NAME is percent-encoded, ENTRY a SHA-256 of the users entry that the keys belong to: with a new
password, or none, they are void. Keys are base64. The file may be deleted at any time. A line
that cannot be read counts as missing.

A user without keys gets the salt it would have with them, computed from a secret of this server,
so that nobody can learn from a challenge who exists.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import logging
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from scramp import ScramException, ScramMechanism

from relevo.directory.replacement import exclusive, replace_file
from relevo.directory.users import Credential, Denied, format_users
from relevo.mail.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relevo.directory import Directory

FILE_NAME = "users.scram"
ITERATIONS = 15_000
"""PBKDF2 rounds; RFC 7677 §4 demands 4096, what the client pays at each login."""

_MAX_FILE_SIZE = 64 * 1024 * 1024
_MAX_ITERATIONS = 1_000_000
_SALT_LENGTH = 16
_MODE = 0o600

_log = logging.getLogger("relevo.authn")


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps to check SCRAM-SHA-256 proofs; no password, but nearly as secret."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """Keys and the digest of the users entry that they were made for."""

    digest: str
    keys: ScramKeys


class ScramKeyStore:
    """The keys of all domains. All methods block: call them in a thread."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._files: dict[Path, tuple[tuple[int, int, int], Mapping[str, KeyEntry]]] = {}

    def find(self, directory: Directory, identity: Address) -> ScramKeys | None:
        """Keys that fit the user's present entry."""
        folder = directory.folder(identity.domain)
        credential = directory.credential(identity)
        if folder is None or credential is None or isinstance(credential, Denied):
            return None
        entry = self._read(folder / FILE_NAME).get(identity.local)
        if entry is None or entry.digest != entry_digest(identity.local, credential):
            return None
        return entry.keys

    def decoy(self, identity: Address) -> ScramKeys:
        """Keys that no password fits, with the salt that the user would have."""
        return ScramKeys(
            self._salt(identity), ITERATIONS, secrets.token_bytes(32), secrets.token_bytes(32)
        )

    def remember(self, directory: Directory, identity: Address, password: bytes) -> None:
        """Make and store keys of a password just proved, unless they are there.

        A failure is logged: it never spoils the login.
        """
        folder = directory.folder(identity.domain)
        credential = directory.credential(identity)
        if folder is None or credential is None or self.find(directory, identity) is not None:
            return
        keys = self._derive(identity, password)
        if keys is None:
            return
        path = folder / FILE_NAME
        try:
            with exclusive(folder):
                entries = _still_valid(self._read(path), directory, identity.domain)
                digest = entry_digest(identity.local, credential)
                entries[identity.local] = KeyEntry(digest, keys)
                replace_file(path, format_keys(entries), mode=_MODE)
        except (OSError, TimeoutError) as error:
            _log.warning("%s: cannot store SCRAM keys of %s: %s", path, identity.plain, error)

    def _derive(self, identity: Address, password: bytes) -> ScramKeys | None:
        """None for a password that SASLprep refuses (RFC 5802 §5.1): SCRAM cannot use it."""
        try:
            salt, stored_key, server_key, iterations = ScramMechanism().make_auth_info(
                password.decode(), iteration_count=ITERATIONS, salt=self._salt(identity)
            )
        except (UnicodeDecodeError, ScramException):
            return None
        return ScramKeys(salt, iterations, stored_key, server_key)

    def _salt(self, identity: Address) -> bytes:
        return hmac.digest(self._secret, identity.plain.encode(), "sha256")[:_SALT_LENGTH]

    def _read(self, path: Path) -> Mapping[str, KeyEntry]:
        try:
            status = path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            cached = self._files.get(path)
            if cached is not None and cached[0] == signature:
                return cached[1]
            with path.open("rb") as file:
                entries = parse_keys(file.read(_MAX_FILE_SIZE))
        except FileNotFoundError:
            return {}
        except OSError as error:
            _log.warning("%s: cannot read SCRAM keys: %s", path, error)
            return {}
        self._files[path] = (signature, entries)
        return entries


def entry_digest(name: str, credential: Credential) -> str:
    """What ties keys to a users entry."""
    return hashlib.sha256(format_users({name: credential})).hexdigest()


def parse_keys(data: bytes) -> dict[str, KeyEntry]:
    """Entries by user name; lines that are none are left out. Never raises."""
    entries = {}
    for line in data.decode("ascii", "replace").splitlines():
        words = line.split(" ")
        if len(words) != 6:
            continue
        try:
            salt, stored_key, server_key = (b64decode(word, validate=True) for word in words[3:])
            iterations = int(words[2])
        except (binascii.Error, ValueError):
            continue
        if 4096 <= iterations <= _MAX_ITERATIONS and len(salt) >= _SALT_LENGTH:
            keys = ScramKeys(salt, iterations, stored_key, server_key)
            entries[unquote(words[0])] = KeyEntry(words[1], keys)
    return entries


def format_keys(entries: Mapping[str, KeyEntry]) -> bytes:
    """The content of the file, sorted by name."""
    lines = ["# SCRAM-SHA-256 keys, made at logins; may be deleted\n"]
    for name, entry in sorted(entries.items()):
        keys = entry.keys
        secrets_ = (keys.salt, keys.stored_key, keys.server_key)
        encoded = " ".join(b64encode(secret).decode() for secret in secrets_)
        lines.append(f"{quote(name, safe='')} {entry.digest} {keys.iterations} {encoded}\n")
    return "".join(lines).encode()


def _still_valid(
    entries: Mapping[str, KeyEntry], directory: Directory, domain: str
) -> dict[str, KeyEntry]:
    valid = {}
    for name, entry in entries.items():
        credential = directory.credential(Address(name, domain))
        if credential is not None and entry.digest == entry_digest(name, credential):
            valid[name] = entry
    return valid
