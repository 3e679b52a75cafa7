"""What launchers are told once: pools of them, their limits and who they run as."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from relevo.config import Config


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one hook process; 0 is none."""

    memory: int = 0  # octets of private memory (RLIMIT_DATA)
    cpu: int = 0  # seconds
    file_size: int = 0  # octets
    open_files: int = 0


class PoolSettings(msgspec.Struct, frozen=True):
    """One pool: `slots` launchers with the same limits, user and working directory."""

    index: int  # of its socket
    slots: int
    directory: str  # working directory of the hooks
    limits: Limits
    run_as: str = ""  # a user's name, for a hook that asks for another one
    user: str = ""  # whom a host that is root becomes otherwise

    @property
    def identity(self) -> str:
        """Says whether a launcher does what a request expects of it."""
        return f"{self.index} {self.run_as}"


def become(settings: PoolSettings) -> None:
    """Be the user of the pool for good. Raises OSError, KeyError when that cannot be."""
    if not settings.run_as and os.geteuid() != 0:
        return
    name = settings.run_as or settings.user
    entry = pwd.getpwnam(name) if name else None
    if entry is None or os.geteuid() == entry.pw_uid:
        return
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


POST_DATA_POOL = 0
ALIAS_POOL = 1
FIRST_DECLARED_POOL = 2
MAX_DECLARED = 30
POOLS = FIRST_DECLARED_POOL + MAX_DECLARED


def pool_settings(config: Config) -> tuple[PoolSettings, ...]:
    """The pools that a configuration asks for."""
    hooks = config.hooks
    limits = Limits(
        memory=hooks.memory_limit,
        cpu=int(hooks.cpu_limit.total_seconds()),
        file_size=hooks.file_size_limit,
        open_files=hooks.open_files,
    )
    directory = str(config.config_dir)
    user = config.server.user
    pools = [
        PoolSettings(POST_DATA_POOL, hooks.max_concurrent, directory, limits, user=user),
        PoolSettings(ALIAS_POOL, hooks.alias_max_concurrent, directory, limits, user=user),
    ]
    for number, declared in enumerate(config.hook):
        pools.append(
            PoolSettings(
                FIRST_DECLARED_POOL + number,
                declared.max_concurrent,
                directory,
                Limits(
                    memory=declared.memory_limit or limits.memory,
                    cpu=int(declared.cpu_limit.total_seconds()) or limits.cpu,
                    file_size=declared.file_size_limit or limits.file_size,
                    open_files=declared.open_files or limits.open_files,
                ),
                declared.run_as,
                user,
            )
        )
    return tuple(pools)
