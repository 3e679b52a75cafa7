"""The compiled part of a launcher: ordinary calls without the interpreter (`prompt.c`).

It is built where relevo is installed with a C compiler, and loaded here when it fits. Without it
a launcher does the same in Python, which costs more; `relevo check` says so.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = Path(__file__).with_name("libhooks.so")
MAX_FILES = 3
"""Descriptors with a request: the caller's end for the answer and those of the inputs."""


class Event(IntEnum):
    """Why `prompt_serve` has come back: what is left to Python."""

    IDLE = 1
    STOPPED = 2
    CLOSED = 3
    REQUEST = 4
    RUNNING = 5
    ENDED = 6
    LEFTOVERS = 7


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What there is to do. `files` are to be closed; the first is for the answer."""

    event: Event
    packet: bytes = b""
    files: list[int] = field(default_factory=list)
    pid: int = 0  # the numbers from here on: of a program that was started
    status: int = 0  # as waitpid(2) says it
    pipes: tuple[int, int] = (-1, -1)
    start: float = 0.0


class _State(ctypes.Structure):
    """`struct launcher`."""

    _fields_ = (
        ("packet", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("pool", ctypes.c_char_p),
        ("packet_size", ctypes.c_int64),
        ("moment", ctypes.c_double),
        ("prompt", ctypes.c_double),
        ("counted_until", ctypes.c_double),
        ("requests", ctypes.c_int32),
        ("poller", ctypes.c_int32),
        ("null", ctypes.c_int32),
        ("bell", ctypes.c_int32),
        ("place_count", ctypes.c_int32),
        ("place", ctypes.c_int32),
        ("few", ctypes.c_int32),
        ("idle_ms", ctypes.c_int32),
        ("cpu_s", ctypes.c_int32),
        ("nice", ctypes.c_int32),
        ("pid", ctypes.c_int32),
        ("status", ctypes.c_int32),
        ("out", ctypes.c_int32),
        ("err", ctypes.c_int32),
        ("file_count", ctypes.c_int32),
        ("files", ctypes.c_int32 * MAX_FILES),
        ("packet_length", ctypes.c_int32),
        ("start", ctypes.c_double),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What `prompt_serve` is told once; the names are those of `struct launcher`."""

    pool: str
    requests: int
    poller: int
    null: int
    bell: int
    place: int
    few: int
    cpu_s: int
    nice: int
    idle_s: float
    moment: float
    prompt: float


class PromptCalls:
    """`prompt_serve` for one launcher. The two maps stay with it."""

    def __init__(
        self,
        library: ctypes.CDLL,
        around: Surroundings,
        packet: mmap.mmap,
        places: mmap.mmap,
    ) -> None:
        self._serve = library.prompt_serve
        self._packet = packet
        self._maps = tuple(
            (ctypes.c_char * len(each)).from_buffer(each) for each in (packet, places)
        )
        self._state = _State(
            packet=ctypes.addressof(self._maps[0]),
            places=ctypes.addressof(self._maps[1]),
            pool=around.pool.encode(),
            packet_size=len(packet),
            place_count=len(places),
            moment=around.moment,
            prompt=around.prompt,
            requests=around.requests,
            poller=around.poller,
            null=around.null,
            bell=around.bell,
            place=around.place,
            few=around.few,
            idle_ms=int(around.idle_s * 1000),
            cpu_s=around.cpu_s,
            nice=around.nice,
        )
        self._pointer = ctypes.byref(self._state)

    def serve(self, counted_until: float) -> HandedOver:
        """Serve calls until something is left to do. `counted_until`: how long limits hold.

        SIGCHLD and SIGTERM must be blocked.
        """
        state = self._state
        state.counted_until = counted_until
        event = Event(self._serve(self._pointer))
        if event < Event.REQUEST or event is Event.LEFTOVERS:
            return HandedOver(event)
        files = list(state.files[: state.file_count])
        packet = self._packet[: state.packet_length]
        if event is Event.REQUEST:
            return HandedOver(event, packet, files)
        pipes = state.out, state.err
        return HandedOver(event, packet, files, state.pid, state.status, pipes, state.start)


@cache
def library(
    path: Path = LIBRARY, kind: Callable[[str], ctypes.CDLL] = ctypes.CDLL
) -> ctypes.CDLL | None:
    """The compiled part; None where it was not built, or for another relevo, or shall not be used.

    The last is said by the environment: `RELEVO_COMPILED=no`. `kind`: ctypes.PyDLL keeps the
    interpreter lock.
    """
    if os.environ.get("RELEVO_COMPILED") == "no":
        return None
    try:
        found = kind(str(path))
        found.prompt_layout.restype = ctypes.c_int64
        found.prompt_serve.argtypes = [ctypes.c_void_p]
        return found if found.prompt_layout() == ctypes.sizeof(_State) else None
    except (OSError, AttributeError):
        return None
