"""Which protections from hooks are in force here, in words for `relevo check`."""

from __future__ import annotations

import os
import pwd
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.hooks.prompt import library
from relevo.hooks.settings import pool_settings

if TYPE_CHECKING:
    from relevo.config import Config

_CHILDREN = Path("/proc/thread-self/children")


def protections(config: Config) -> tuple[str, ...]:
    """One phrase each, for a server that the calling user starts."""
    user = _user(config)
    hooks = config.hooks
    limits = {
        "memory": hooks.memory_limit,
        "processor time": hooks.cpu_limit,
        "file size": hooks.file_size_limit,
        "open files": hooks.open_files,
        "processes": hooks.max_processes,
    }
    limited = [name for name, value in limits.items() if value]
    phrases = [f"they run as {user}", f"limited in {', '.join(limited)}"]
    if unlimited := [name for name, value in limits.items() if not value]:
        phrases.append(f"not in {', '.join(unlimited)}")
    if _CHILDREN.exists():
        phrases.append("what they leave behind is killed")
    else:
        phrases.append(
            "what they leave behind is not found, as this kernel lists no children in /proc"
        )
    phrases.append(f"forks without end are met with {_priority()}")
    if library() is None:
        phrases.append(
            "they are started by Python alone, which costs more, as the compiled part is not there"
            " (it is built where relevo is installed with a C compiler)"
        )
    phrases.append(_sandboxes(config))
    if user == "root":
        phrases.append("the system's own limit of processes does not hold for root")
    return tuple(phrases)


def _sandboxes(config: Config) -> str:
    pools = pool_settings(config)
    kept_to = [each.sandbox for each in pools if each.sandbox is not None]
    if not kept_to:
        return "none is in a sandbox"
    strict = sum(each.is_strict for each in kept_to)
    return (
        f"{len(kept_to)} of {len(pools)} pools are in a sandbox, {strict} of them in a strict one"
    )


def _user(config: Config) -> str:
    if os.geteuid() == 0 and config.server.user:
        return config.server.user
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _priority() -> str:
    if os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0:
        return "real-time priority"
    return "ordinary priority, as the server has no right to more"
