"""The circuit breaker of a hook: a program that only hangs or crashes is left alone for a while.

Closed: calls go through; so many failures in a row open it. Open: calls fail at once. After the
pause one call is let through as a trial (half-open); its success closes, its failure opens again.
An edit of the hook's file closes it, since the new program has done nothing wrong. Time is an
argument, in seconds of a clock that all processes share.

The state is one row a hook in memory that was mapped before the workers were forked, so a hook's
failures are counted, and its trial is made, once over the whole server. What is ordinary, a call
that goes through and succeeds, only reads; a change is made under a lock that its process takes
along when it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 256
"""Hooks whose failures are counted; one more takes the row of another."""

_ROW = struct.Struct("=QQQdQ")
_BITS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class _State:
    name: int = 0  # a hash, 0 where there is none yet
    signature: int = 0  # a hash too
    in_a_row: int = 0
    closed_at: float = 0.0  # when an open one lets a trial through
    trying: int = 0  # the process that makes the trial


class BreakerTable:
    """The shared memory; made before the processes that use it are forked."""

    def __init__(self, rows: int = ROWS) -> None:
        self._rows = rows
        self._file = os.memfd_create("relevo-breakers", os.MFD_CLOEXEC)
        os.ftruncate(self._file, rows * _ROW.size)
        self._memory = mmap.mmap(self._file, rows * _ROW.size)

    def breaker(self, hook: str, failures: int, pause_s: float) -> Breaker:
        """The breaker of a hook as this process sees it. `failures`: 0 never opens."""
        return Breaker(self, _hash(hook), failures, pause_s)

    def close(self) -> None:
        self._memory.close()
        os.close(self._file)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """No other process changes the table meanwhile."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def read(self, row: int) -> _State:
        return _State(*_ROW.unpack_from(self._memory, row * _ROW.size))

    def write(self, row: int, state: _State) -> None:
        _ROW.pack_into(
            self._memory, row * _ROW.size,
            state.name, state.signature, state.in_a_row, state.closed_at, state.trying,
        )  # fmt: skip

    def row_of(self, name: int) -> int:
        """The row of a hook, or the one that it shall take; under the lock."""
        free = None
        for row in range(self._rows):
            found = self.read(row).name
            if found == name:
                return row
            if free is None and not found:
                free = row
        return name % self._rows if free is None else free


@dataclass(slots=True)
class Breaker:
    """One hook's. Made by `BreakerTable.breaker`."""

    table: BreakerTable
    name: int
    failures: int
    pause_s: float
    _row: int = -1
    _signature: object = None
    _hash: int = 0

    def allows(self, now: float, signature: object) -> bool:
        """Whether to call now. A True must be followed by `report` or `forget`."""
        if not self.failures:
            return True
        if signature != self._signature:
            self._signature, self._hash = signature, _hash(signature)
        state = self._state()
        if state.signature == self._hash and state.in_a_row < self.failures:
            return True
        with self.table.locked():
            state = self._own_row()
            if state.signature != self._hash:
                state = _State(self.name, self._hash)
            may_call = state.in_a_row < self.failures
            if not may_call and now >= state.closed_at and not _is_alive(state.trying):
                state = replace(state, trying=os.getpid())
                may_call = True
            self.table.write(self._row, state)
        return may_call

    def report(self, now: float, *, failed: bool) -> bool:
        """How a call went; True when this opened the breaker."""
        if not self.failures:
            return False
        state = self._state()
        if not failed and not state.in_a_row and not state.trying:
            return False
        with self.table.locked():
            state = self._own_row()
            in_a_row = state.in_a_row + 1 if failed else 0
            opens = in_a_row >= self.failures
            self.table.write(
                self._row,
                replace(
                    state,
                    in_a_row=in_a_row,
                    closed_at=now + self.pause_s if opens else 0.0,
                    trying=_others(state.trying) if failed else 0,
                ),
            )
        return opens and state.in_a_row < self.failures

    def forget(self) -> None:
        """The call said nothing about the hook."""
        if self._state().trying == os.getpid():
            with self.table.locked():
                self.table.write(self._row, replace(self._own_row(), trying=0))

    @property
    def is_open(self) -> bool:
        return bool(self.failures) and self._state().in_a_row >= self.failures

    def _state(self) -> _State:
        """What is known without the lock; nothing yet when the row is another's."""
        if self._row >= 0:
            state = self.table.read(self._row)
            if state.name == self.name:
                return state
        return _State()

    def _own_row(self) -> _State:
        """The state, after the row was made this hook's; under the lock."""
        self._row = self.table.row_of(self.name)
        state = self.table.read(self._row)
        return state if state.name == self.name else _State(self.name, self._hash)


def _hash(value: object) -> int:
    """Not 0; the same in all processes that were forked from one."""
    return (hash(value) & _BITS) or 1


def _others(pid: int) -> int:
    """A trial goes on that another process makes."""
    return 0 if pid == os.getpid() else pid


def _is_alive(pid: int) -> bool:
    """Whether the process that makes a trial is there; one that was killed reports no more."""
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
