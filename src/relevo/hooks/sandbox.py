"""The sandbox of hooks: what a launcher gives up before it takes requests, and its hooks never had.

It is made of what a Linux kernel gives to a process without rights, and is inherited by all that
the process starts:

- **No network.** A network namespace of its own has no interface, not even a loopback one that is
  up. It takes a user namespace, in which the user is who it was, without any capability.
- **Nothing is written** but below the paths named: by Landlock where it knows all that changes a
  file (Linux 6.2), else by a mount namespace that is read-only. Open descriptors are not touched:
  what a hook is given (stdin, its context, the pipes of its answer) works as ever.
- **No new privileges**: programs with a set-user-id bit are ordinary ones.
- `strict`: **nothing is read** but the system's programs and libraries, the hook itself, and what
  is named; by Landlock.

Where the kernel knows it, signals to processes outside, and their abstract sockets, are out of
reach too; sockets in the file system are not. What is promised and cannot be had is an error: there
is no hook with half a sandbox.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from relevo.hooks import landlock
from relevo.hooks.landlock import READS, WRITES, Allowed, Right, readable
from relevo.hooks.mounts import make_read_only
from relevo.hooks.rights import give_up_all

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 3, 4, 28, 38
_NO_ROOT = 0b11  # SECBIT_NOROOT and its lock: the user root is a user like others
_NEWNS, _NEWUSER, _NEWNET = 0x00020000, 0x10000000, 0x40000000
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/nix/store",
    "/sys/devices/system/cpu", *_DEVICES,
)  # fmt: skip


class SandboxUnavailable(OSError):
    """This machine does not give what the sandbox needs; the text says what."""


class Sandbox(msgspec.Struct, frozen=True):
    """What a pool's hooks are kept to. Paths are absolute."""

    is_strict: bool = False
    writable: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()  # of a strict one, beside the system's files


def enter(sandbox: Sandbox | None) -> None:
    """Give it all up, for good; None: nothing. The process has one thread, and is who it shall be.

    Raises SandboxUnavailable.
    """
    if sandbox is None:
        return
    version = landlock.abi()
    needs_mounts = version < landlock.ABI_TRUNCATE
    if sandbox.is_strict and not version:
        raise SandboxUnavailable(
            "the kernel has no Landlock, which `strict` needs (it is built in, and named in `lsm=`)"
        )
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _leave_namespaces(_NEWNS if needs_mounts else 0)
    if needs_mounts:
        with _telling("no file system can be made read-only"):
            make_read_only(sandbox.writable)
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_SET_SECUREBITS, _NO_ROOT, 0, 0, 0)
    with _telling("rights cannot be given up"):
        give_up_all()
    if version:
        handled = WRITES | READS if sandbox.is_strict else WRITES
        with _telling("Landlock cannot be used"):
            landlock.restrict(handled, _allowed(sandbox))


@contextmanager
def _telling(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SandboxUnavailable(f"{what}: {error.strerror or error}") from error


def _leave_namespaces(more: int) -> None:
    """For a user and a network namespace of its own."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWUSER | _NEWNET | more) != 0:
        raise SandboxUnavailable(
            f"the kernel gives this user no namespaces of its own "
            f"({os.strerror(ctypes.get_errno())}): see user.max_user_namespaces, "
            f"kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns in "
            f"sysctl(8); in a container, its seccomp profile"
        )
    was_dumpable = libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else the files below belong to root
    try:
        with _telling("the user cannot be who it was in a namespace of its own"):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    finally:
        libc.prctl(_PR_SET_DUMPABLE, was_dumpable, 0, 0, 0)


def _allowed(sandbox: Sandbox) -> tuple[Allowed, ...]:
    rights = READS | WRITES & ~(Right.MAKE_CHAR | Right.MAKE_BLOCK)
    writable = tuple(Allowed(path, rights) for path in sandbox.writable)
    devices = tuple(Allowed(path, READS | Right.WRITE_FILE) for path in _DEVICES)
    python = (sys.prefix, sys.base_prefix, *(path for path in sys.path if path))
    return (*writable, *devices, *readable(*_SYSTEM, *python, *sandbox.readable))
