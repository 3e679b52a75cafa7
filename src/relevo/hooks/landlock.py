"""Landlock: a process gives up rights to files, for itself and all that it starts (landlock(7)).

Only what the kernel knows is asked for; which of it has to be there is the caller's to say. libc
has no functions for it, so these are system calls by number, the same on all machines.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from stat import S_ISDIR

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # flag: only say which ABI there is
_PATH_BENEATH = 1
_NO_TCP = 0b11  # bind and connect
_NO_SIGNALS, _NO_ABSTRACT_SOCKETS = 0b10, 0b01
_ABI_NET, _ABI_SCOPE = 4, 6


class Right(IntFlag):
    """What can be done to files; the numbers are the kernel's."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # to move between folders; ABI 2
    TRUNCATE = 1 << 14  # ABI 3


READS = Right.EXECUTE | Right.READ_FILE | Right.READ_DIR
WRITES = Right(sum(Right)) & ~READS
OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE
ABI_TRUNCATE = 3
"""From this one on `WRITES` is all that changes a file."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What stays possible below a path (or with it, if it is a file). One that is not there, or
    that the user cannot get at, is left out.
    """

    path: str
    rights: Right


def abi() -> int:
    """What the kernel offers; 0: nothing."""
    return int(max(0, ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION)))


def restrict(handled: Right, allowed: tuple[Allowed, ...]) -> None:
    """Give up the `handled` rights but for what is allowed, and with them what else there is to
    give up: TCP, signals to others and their abstract sockets. Raises OSError.

    The process must have said that it gets no new privileges (prctl(2)).
    """
    version = abi()
    known = handled
    if version < ABI_TRUNCATE:
        known &= ~Right.TRUNCATE
    if version < 2:
        known &= ~Right.REFER
    attributes = struct.pack("=Q", known)
    if version >= _ABI_NET:
        attributes += struct.pack("=Q", _NO_TCP)
    if version >= _ABI_SCOPE:
        attributes += struct.pack("=Q", _NO_SIGNALS | _NO_ABSTRACT_SOCKETS)
    rules = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for each in allowed:
            _allow(rules, each, known)
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, allowed: Allowed, known: Right) -> None:
    try:
        beneath = os.open(allowed.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        rights = allowed.rights & known
        if not S_ISDIR(os.fstat(beneath).st_mode):
            rights &= OF_FILES
        if rights:
            _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, beneath), 0)
    finally:
        os.close(beneath)


def _call(number: int, *arguments: int | bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def readable(*paths: str | Path) -> tuple[Allowed, ...]:
    """These may be read and run."""
    return tuple(Allowed(str(path), READS) for path in paths)
