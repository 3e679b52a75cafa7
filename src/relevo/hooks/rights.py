"""Who a host or launcher is, and how urgent: the only right that it keeps is to be scheduled first.

Against thousands of processes the one that has to stop them must get its turn, so a launcher that
watches a long call has real-time priority where the system allows it: as root, or as a user with
CAP_SYS_NICE alone, which a host that was root keeps for itself and its launchers. No program that
they start has it: an exec takes it away.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from contextlib import suppress

_PR_SET_KEEPCAPS = 8
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # by machine; libc has no function for it
_ATTRIBUTES = 48  # size of struct sched_attr, version 0
_RESET_ON_FORK = 1  # SCHED_FLAG_RESET_ON_FORK
_SHORT_TURN_NS = 100_000
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_CAP_SETGID, _CAP_SETUID, _CAP_SYS_NICE = (1 << number for number in (6, 7, 23))


def become(name: str) -> None:
    """Be this user for good; "" changes nothing. Raises OSError, KeyError when that cannot be."""
    entry = pwd.getpwnam(name) if name else None
    if entry is None or os.geteuid() == entry.pw_uid:
        return
    keeps = os.geteuid() == 0 and _hold(_CAP_SETGID | _CAP_SETUID | _CAP_SYS_NICE)
    if keeps:
        ctypes.CDLL(None).prctl(_PR_SET_KEEPCAPS, 1)
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if keeps and not _hold(_CAP_SYS_NICE):
        raise PermissionError("the rights of root cannot be given up")


def give_up_all() -> None:
    """Have no capability any more. Raises OSError."""
    if not _hold(0):
        raise PermissionError("capabilities cannot be given up")


def be_patient() -> None:
    """Whoever sends a request runs on, instead of waiting until its hook is started.

    Children inherit it, and waking up displace nobody either.
    """
    _schedule(os.SCHED_BATCH, 0)


def be_urgent() -> None:
    """Be scheduled before all others, or before those that have had no shorter turn than asked for.

    The second is for a process without rights, on Linux 6.12 and later. Children are not urgent.
    """
    if not _schedule(os.SCHED_RR, os.sched_get_priority_min(os.SCHED_RR)) and not _ask_short_turn():
        _schedule(os.SCHED_OTHER, 0)


def _ask_short_turn() -> bool:
    """sched_setattr(2): who asks for little at once is given it sooner."""
    number = _SCHED_SETATTR.get(os.uname().machine)
    if number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = struct.pack(
        "=IIQiIQQQ", _ATTRIBUTES, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, _SHORT_TURN_NS, 0, 0
    )
    return bool(ctypes.CDLL(None).syscall(number, 0, attributes, 0) == 0)


def _schedule(policy: int, priority: int) -> bool:
    with suppress(OSError):
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        return True
    return False


def _hold(capabilities: int) -> bool:
    """Have these and no others; False when the system refuses."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    data = struct.pack("=6I", capabilities, capabilities, 0, 0, 0, 0)
    return bool(ctypes.CDLL(None).capset(header, data) == 0)
