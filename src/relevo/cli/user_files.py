"""The `users` files of a config directory: where they are, whose they are, what they say."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from relevo.config import find_domains
from relevo.config.layout import domains_dir
from relevo.directory import FileError, FileProblem
from relevo.directory.users import Credential, parse_users


def domain_folder(config_dir: Path, domain: str) -> Path | None:
    """Of a domain that exists. Its name may be written in another form than the normal one."""
    return next((one.path for one in find_domains(config_dir)[0] if one.name == domain), None)


def read_users(path: Path) -> dict[str, Credential]:
    """Of a file that may be missing. Raises FileError."""
    try:
        return dict(parse_users(path.read_bytes(), path=path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise FileError(FileProblem(path, 0, text)) from error


def give_to_server(path: Path, config_dir: Path, user: str) -> None:
    """What root has made must be readable by the user that the server becomes.

    That is `user` (`server.user`), else the owner of the domains folder.
    """
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    except KeyError:
        folder = domains_dir(config_dir).stat()
        os.chown(path, folder.st_uid, folder.st_gid)
