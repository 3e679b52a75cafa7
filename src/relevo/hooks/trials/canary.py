"""Canaries: a new version of a hook answers for a share of the mail, until it fails too often.

How often calls of both versions fail is counted in a row for each canary, in memory that was mapped
before the workers were forked, so that the whole server judges and returns as one. A row is written
under a lock that its process takes along when it ends. Counts are halved when they grow, so that
what was long ago weighs little.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from zlib import crc32

from relevo.config.hook_variants import share_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.config.hook_model import DeclaredHook

ROWS = 32
"""As many as there can be declared hooks, and two."""

_NAME = 96
_ROW = struct.Struct(f"={_NAME}s4Qd")
_WINDOW = 1000  # calls; above it both counts of a version are halved
_PARTS = 1_000_000


@dataclass(frozen=True, slots=True)
class CanaryState:
    """A canary and what is known of it. `returned_at`: when it was given up, 0.0: it is not."""

    name: str = ""
    calls: int = 0
    failures: int = 0
    live_calls: int = 0
    live_failures: int = 0
    returned_at: float = 0.0

    @property
    def is_returned(self) -> bool:
        return self.returned_at > 0

    def counted(self, *, is_live: bool, failed: bool) -> CanaryState:
        """After one more call."""
        calls, failures = (
            (self.live_calls, self.live_failures) if is_live else (self.calls, self.failures)
        )
        calls, failures = calls + 1, failures + failed
        if calls > _WINDOW:
            calls, failures = calls // 2, failures // 2
        if is_live:
            return replace(self, live_calls=calls, live_failures=failures)
        return replace(self, calls=calls, failures=failures)

    def fails_too_often(self, min_calls: int, tolerance: float) -> bool:
        """Whether its share of failures is above that of the live hook by more than it may."""
        if self.calls < min_calls:
            return False
        live = self.live_failures / self.live_calls if self.live_calls else 0.0
        return self.failures / self.calls > live + tolerance

    def as_dict(self) -> dict[str, object]:
        """For `relevo status`."""
        return {
            "hook": self.name,
            "calls": self.calls,
            "failures": self.failures,
            "live_calls": self.live_calls,
            "live_failures": self.live_failures,
            "returned_at": self.returned_at or None,
        }


class CanaryTable:
    """The shared memory; made before the processes that use it are forked."""

    def __init__(self) -> None:
        self._file = os.memfd_create("relevo-canaries", os.MFD_CLOEXEC)
        os.ftruncate(self._file, ROWS * _ROW.size)
        self._memory = mmap.mmap(self._file, ROWS * _ROW.size)

    def get(self, number: int, name: str) -> CanaryState:
        """The state of a canary; a row that another had is a new one's."""
        state = self._read(number)
        return state if state.name == name else CanaryState(name)

    def put(self, number: int, state: CanaryState) -> None:
        """Under `locked`."""
        _ROW.pack_into(
            self._memory, number * _ROW.size, state.name.encode()[:_NAME],
            state.calls, state.failures, state.live_calls, state.live_failures, state.returned_at,
        )  # fmt: skip

    def read(self) -> list[CanaryState]:
        """All that were asked since the start or the last reload."""
        return [state for state in map(self._read, range(ROWS)) if state.name]

    def reset(self, name: str | None = None) -> bool:
        """One canary, or all, begin anew; whether there was any."""
        with self.locked():
            found = [
                number
                for number in range(ROWS)
                if (state := self._read(number)).name and name in {None, state.name}
            ]
            for number in found:
                self.put(number, CanaryState())
        return bool(found)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """No other process changes the table meanwhile."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _read(self, number: int) -> CanaryState:
        name, calls, failures, live_calls, live_failures, returned_at = _ROW.unpack_from(
            self._memory, number * _ROW.size
        )
        shown = name.rstrip(b"\0").decode("utf-8", "replace")
        return CanaryState(shown, calls, failures, live_calls, live_failures, returned_at)


@dataclass(frozen=True, slots=True)
class Canary:
    """One canary as a worker sees it. `number`: of its row."""

    declared: DeclaredHook
    number: int
    table: CanaryTable

    @property
    def name(self) -> str:
        return self.declared.name.encode()[:_NAME].decode("utf-8", "ignore")

    def takes(self, key: str) -> bool:
        """Whether it is asked about the message, client or whatever the key names."""
        part = crc32(f"{self.declared.name}\0{key}".encode("utf-8", "surrogateescape")) % _PARTS
        if part >= share_of(self.declared.canary) * _PARTS:
            return False
        return not self.table.get(self.number, self.name).is_returned

    def count(self, *, is_live: bool, failed: bool) -> CanaryState | None:
        """One call of either version is over; the state if this one made an end of the canary."""
        declared = self.declared
        with self.table.locked():
            before = self.table.get(self.number, self.name)
            state = before.counted(is_live=is_live, failed=failed)
            returns = (
                failed
                and not is_live
                and not before.is_returned
                and state.fails_too_often(
                    declared.canary_min_calls, share_of(declared.canary_tolerance)
                )
            )
            if returns:
                state = replace(state, returned_at=time.time())
            self.table.put(self.number, state)
        return state if returns else None
