"""Sending one request and reading what comes back, without waiting: compiled, or in Python.

The compiled way (`asking.c`) keeps the interpreter lock, since giving it up for system calls as
short as these costs a worker more than they do.
"""

from __future__ import annotations

import array
import ctypes
import os
import socket
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from relevo.hooks.prompt import library

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_buffer = bytearray(256 * 1024)  # of this process; what is read is copied out of it at once


@dataclass(frozen=True, slots=True)
class Asking:
    """The steps of a call.

    `send` hands the request over to a pool's socket, with a new end for the answer and with files;
    it gives our end. `receive` gives the next message that has come to it, b"" when none can come
    any more. Both raise BlockingIOError where they would wait, and OSError. `close` ends it.
    """

    send: Callable[[int, bytes, Sequence[int]], int]
    receive: Callable[[int], bytes]
    close: Callable[[int], object]


@cache
def asking() -> Asking:
    """The compiled way where it is there."""
    found = library(kind=ctypes.PyDLL)
    return Asking(_send, _receive, os.close) if found is None else compiled(found)


def compiled(found: ctypes.CDLL) -> Asking:
    """`found` keeps the interpreter lock."""
    sender, receiver = found.asking_send, found.asking_receive
    sender.argtypes = (
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int32
    )  # fmt: skip
    found.asking_close.argtypes = (ctypes.c_int,)
    receiver.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
    view = memoryview(_buffer)
    size = len(_buffer)
    place = ctypes.addressof((ctypes.c_char * size).from_buffer(_buffer))

    def send(pool: int, packet: bytes, files: Sequence[int]) -> int:
        descriptors = (ctypes.c_int * len(files))(*files) if files else None
        end: int = sender(pool, packet, len(packet), descriptors, len(files))
        if end < 0:
            raise OSError(-end, os.strerror(-end))
        return end

    def receive(end: int) -> bytes:
        length: int = receiver(end, place, size)
        if length < 0:
            raise OSError(-length, os.strerror(-length))
        return bytes(view[:length])

    return Asking(send, receive, found.asking_close)


def _send(pool: int, packet: bytes, files: Sequence[int]) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        descriptors = array.array("i", [theirs.fileno(), *files])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
        requests = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, pool)
        try:
            requests.sendmsg([packet], rights, socket.MSG_DONTWAIT)
        finally:
            requests.detach()
        ours.setblocking(False)
        return ours.detach()


def _receive(end: int) -> bytes:
    length = os.readv(end, [_buffer])
    return bytes(memoryview(_buffer)[:length])
