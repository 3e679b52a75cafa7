"""A secret of this server, made once and kept in its data directory."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from relevo.directory.replacement import exclusive, replace_file

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "authn-secret"
_LENGTH = 32


def server_secret(data_dir: Path, name: str = FILE_NAME) -> bytes:
    """The secret of this name, made at the first call. Raises OSError and TimeoutError."""
    path = data_dir / name
    with exclusive(data_dir):
        if path.exists():
            secret = path.read_bytes()
            if len(secret) == _LENGTH:
                return secret
        secret = secrets.token_bytes(_LENGTH)
        replace_file(path, secret, mode=0o600)
    return secret
