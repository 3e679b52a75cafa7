"""Checking a password against an entry of a `users` file, and making new entries.

Every check costs one scrypt derivation, whether the user exists or not, so that the time tells
nothing. The work that an entry may ask for is bounded: one with greater parameters, or with
parameters that scrypt refuses, fits no password and is logged.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from dataclasses import replace

from relevo.directory.users import Credential, Denied, Plain, Scrypt

MAX_MEMORY = 128 * 1024 * 1024
"""Most memory that one derivation may take, octets."""

MAX_WORK = 2**24
"""Largest N*r*p; new entries have 2**17."""

MAX_KEY_LENGTH = 1024

_LOG_N, _R, _P, _KEY_LENGTH, _SALT_LENGTH = 14, 8, 1, 32, 16
_OVERHEAD = 1024 * 1024  # what OpenSSL counts beside the blocks

_log = logging.getLogger("relevo.authn")


def make_credential(password: bytes) -> Scrypt:
    """An entry for a new password, with the parameters that chasquid-util uses. Takes ~30 ms."""
    salt = secrets.token_bytes(_SALT_LENGTH)
    blank = Scrypt(_LOG_N, _R, _P, _KEY_LENGTH, salt, b"")
    derived = _derive(blank, password)
    if derived is None:
        raise MemoryError("no memory for scrypt")
    return replace(blank, encrypted=derived)


def verify(credential: Credential | None, password: bytes, *, user: str) -> bool:
    """Does the password fit? None (no such user) never does, nor does a denied user.

    Takes about as long in all these cases. `user` is for the log. Blocks: call it in a thread.
    """
    match credential:
        case Scrypt():
            derived = _derive(credential, password) if _is_derivable(credential) else None
            if derived is not None:
                return hmac.compare_digest(derived, credential.encrypted)
            _log.warning("user %s: scrypt refuses the parameters in the users file", user)
        case Plain():
            _spend(password)
            return hmac.compare_digest(credential.password, password)
        case Denied() | None:
            pass
    _spend(password)
    return False


def _is_derivable(entry: Scrypt) -> bool:
    """Are the parameters within RFC 7914 §2 and our bounds?"""
    if not 1 <= entry.log_n < 32 or entry.r < 1 or entry.p < 1:
        return False
    if not 1 <= entry.key_length <= MAX_KEY_LENGTH or entry.log_n >= 16 * entry.r:
        return False
    blocks = 128 * entry.r * (2**entry.log_n + entry.p)
    return blocks <= MAX_MEMORY and (entry.r * entry.p << entry.log_n) <= MAX_WORK


def _derive(entry: Scrypt, password: bytes) -> bytes | None:
    """The key; None: OpenSSL refuses the parameters or gets no memory for them."""
    try:
        return hashlib.scrypt(
            password,
            salt=entry.salt,
            n=2**entry.log_n,
            r=entry.r,
            p=entry.p,
            dklen=entry.key_length,
            maxmem=MAX_MEMORY + _OVERHEAD,
        )
    except (ValueError, MemoryError):
        return None


_NOBODY = Scrypt(_LOG_N, _R, _P, _KEY_LENGTH, secrets.token_bytes(_SALT_LENGTH), b"")


def _spend(password: bytes) -> None:
    """The time of a derivation, for a user who has no entry to derive from."""
    _derive(_NOBODY, password)
