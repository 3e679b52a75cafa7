"""What launchers are told once: pools of them, their limits and who they run as."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.sandbox import Sandbox

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.config.hook_model import DeclaredHook


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
    in_flight: int = 0  # calls at once in each persistent process; 0: a process a call
    recycle_above: int = 0  # octets of memory after which such a process is replaced; 0: never
    niceness: int = 0  # above that of other hooks
    sandbox: Sandbox | None = None

    @property
    def identity(self) -> str:
        """Says whether a launcher does what a request expects of it."""
        return f"{self.index} {self.run_as} {self.in_flight}"


def worker_count(config: Config) -> int:
    """Workers of the server, among which processes and places are shared."""
    return config.server.workers or os.cpu_count() or 1


def user_of(settings: PoolSettings) -> str:
    """Whom a process of the pool becomes; "" for nobody else than it is."""
    return settings.run_as or (settings.user if os.geteuid() == 0 else "")


PYTHON_WORDS = (sys.executable, "-P", "-m", "relevo.hook.runner")
"""What runs a hook of the form python; its file follows."""

SHADOW_NICENESS = 10
"""Shadows leave processor time to hooks that decide about mail."""

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
    user, workers = config.server.user, worker_count(config)
    kept_to = sandbox_of(config)
    pools = [
        PoolSettings(
            POST_DATA_POOL, hooks.max_concurrent, directory, limits, user=user, sandbox=kept_to
        ),
        PoolSettings(
            ALIAS_POOL, hooks.alias_max_concurrent, directory, limits, user=user, sandbox=kept_to
        ),
    ]
    for number, declared in enumerate(config.hook):
        if declared.is_service:
            continue
        pool = _declared_pool(number, declared, limits, directory, user, workers)
        pools.append(msgspec.structs.replace(pool, sandbox=sandbox_of(config, declared)))
    return tuple(pools)


def sandbox_of(config: Config, declared: DeclaredHook | None = None) -> Sandbox | None:
    """What a declared hook, or those in `hooks/`, are kept to; None: nothing."""
    hooks = config.hooks
    level = (declared.sandbox if declared is not None else "") or hooks.sandbox
    if level == "false":
        return None
    folder = config.config_dir
    if declared is None:
        writable, readable = hooks.writable, (str(folder / "hooks"), *hooks.readable)
    else:
        writable = hooks.writable + declared.writable
        own = () if declared.is_module else (declared.target,)
        readable = (*own, *hooks.readable, *declared.readable)
    return Sandbox(
        level == "strict",
        tuple(str(folder / path) for path in writable),
        tuple(str(folder / path) for path in readable),
    )


def _declared_pool(
    number: int, declared: DeclaredHook, usual: Limits, directory: str, user: str, workers: int
) -> PoolSettings:
    is_worker = declared.form != "exec"
    cpu = int(declared.cpu_limit.total_seconds())
    limits = Limits(
        memory=declared.memory_limit or usual.memory,
        cpu=cpu if is_worker else cpu or usual.cpu,  # a process that stays uses more and more
        file_size=declared.file_size_limit or usual.file_size,
        open_files=declared.open_files or usual.open_files,
    )
    slots, in_flight = declared.max_concurrent, 0
    if is_worker:
        slots = max(workers, min(declared.processes, declared.max_concurrent))
        in_flight = -(-declared.max_concurrent // slots)
    return PoolSettings(
        FIRST_DECLARED_POOL + number,
        slots,
        directory,
        limits,
        declared.run_as,
        user,
        in_flight,
        declared.recycle_above if is_worker else 0,
        SHADOW_NICENESS if declared.shadow else 0,
    )
