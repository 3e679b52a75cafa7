"""From root to the service user, once everything that needs root is open."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.config import Config


class NoSuchUser(Exception):
    """`server.user` is not on this machine."""


def service_user(config: Config) -> pwd.struct_passwd | None:
    """Whom to become: `server.user` when started as root. Raises NoSuchUser."""
    if not config.server.user or os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(config.server.user)
    except KeyError as error:
        raise NoSuchUser(f"server.user: there is no user {config.server.user!r}") from error


def become(user: pwd.struct_passwd) -> None:
    """Drop root's privileges for good."""
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
