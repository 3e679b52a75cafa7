"""Faults of a running server, turned on and off by the test (`shim.c` is what carries them out)."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

from harness import debian

SHIM = Path(__file__).with_name("shim.c")
ALWAYS = -1
_CLOCK = struct.Struct("<q")
_RULE = struct.Struct("<IIIIIIqQ88s")
_RULES = 8
_HITS = struct.Struct("<Q")
_HITS_AT = 32  # octets behind the beginning of a rule


class Operation(IntFlag):
    """As in shim.c."""

    WRITE = 1
    SYNC = 2
    OPEN = 4
    READ = 8
    RENAME = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to calls on files whose path contains `path`, so many times."""

    operations: Operation
    path: str
    error: int = 0  # errno; 0: the call is made
    delay_s: float = 0.0  # before the call is made, or fails
    is_short: bool = False  # half of the octets are taken
    times: int = ALWAYS

    def __str__(self) -> str:
        what = errno.errorcode.get(self.error, "slow" if self.delay_s else "short")
        return f"{what} of {self.operations.name} on {self.path}"


class Injected:
    """A fault that is in force."""

    def __init__(self, board: mmap.mmap, at: int) -> None:
        self._board = board
        self._at = at

    @property
    def hits(self) -> int:
        """How often it applied, over all processes."""
        hits: int = _HITS.unpack_from(self._board, self._at + _HITS_AT)[0]
        return hits


class Board:
    """The faults of one server: load it with `variables` in its environment."""

    def __init__(self, folder: Path) -> None:
        """Compiles the library into the folder."""
        self._shim = folder / "faults.so"
        self._path = folder / "fault-board"
        subprocess.run(
            [
                *(debian.program("gcc"), "-O2", "-Wall", "-Wextra", "-shared", "-fPIC"),
                *("-o", self._shim, SHIM),
            ],
            check=True,
        )
        self._path.write_bytes(bytes(_CLOCK.size + _RULES * _RULE.size))
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            self._board = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)

    @property
    def variables(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._shim), "FAULT_BOARD": str(self._path)}

    @contextmanager
    def inject(self, *faults: Fault) -> Iterator[Injected]:
        """The faults are in force while the block runs; yields the first."""
        places = [_CLOCK.size + number * _RULE.size for number in range(len(faults))]
        assert len(faults) <= _RULES
        for at, fault in zip(places, faults, strict=True):
            text = fault.path.encode()
            assert len(text) < 88, fault.path
            rule = _RULE.pack(
                0, fault.operations, fault.error, round(fault.delay_s * 1000), fault.is_short, 0,
                fault.times, 0, text,
            )  # fmt: skip
            self._board[at : at + _RULE.size] = rule
            self._turn(at, is_on=True)
        try:
            yield Injected(self._board, places[0])
        finally:
            for at in places:
                self._turn(at, is_on=False)

    def clear(self) -> None:
        """No fault is in force any more."""
        for number in range(_RULES):
            self._turn(_CLOCK.size + number * _RULE.size, is_on=False)

    def _turn(self, at: int, *, is_on: bool) -> None:
        struct.pack_into("<I", self._board, at, is_on)

    def set_clock(self, seconds: float) -> None:
        """The wall clock shows so many seconds more than it should (less: below 0)."""
        _CLOCK.pack_into(self._board, 0, round(seconds * 1e9))

    def close(self) -> None:
        self._board.close()
