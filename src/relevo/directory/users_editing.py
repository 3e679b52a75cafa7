"""Adding, changing and removing users in a `users` file, as chasquid-util does.

The file is read, changed and replaced under a lock, so concurrent editors lose nothing. Comments
in it are lost, entries are sorted by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.directory.replacement import exclusive, replace_file
from relevo.directory.users import Credential, format_users, parse_users
from relevo.mail.address import normalize_user

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o660


def set_user(path: Path, name: str, credential: Credential) -> bool:
    """Add the user or change its credential; True when it is new.

    Raises InvalidUser, FileError (the present file is malformed), TimeoutError and OSError; the
    old file then stays as it is.
    """
    name = normalize_user(name)
    with exclusive(path.parent):
        users = _read(path)
        is_new = name not in users
        _write(path, {**users, name: credential})
    return is_new


def remove_user(path: Path, name: str) -> bool:
    """Remove the user; False when there was none. Raises like `set_user`."""
    name = normalize_user(name)
    with exclusive(path.parent):
        users = _read(path)
        if name not in users:
            return False
        del users[name]
        _write(path, users)
    return True


def _read(path: Path) -> dict[str, Credential]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    return dict(parse_users(data, path=path))


def _write(path: Path, users: dict[str, Credential]) -> None:
    # Through a link, the file that it points to is replaced and the link stays.
    replace_file(path.resolve(), format_users(users), mode=_MODE)
