"""Counters of all workers, in memory that the supervisor maps before it forks.

Each worker writes only its own row; readers add the rows up. A row is kept when its worker dies,
so that the sums never go back.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from relevo.journal import Accepted, Attempted, Authenticated, DsnSent, Outcome, Rejected

if TYPE_CHECKING:
    from relevo.journal import Event

NAMES = (
    "accepted",
    "rejected",
    "delivered",
    "deferred",
    "failed",
    "dsns",
    "logins",
    "failed_logins",
    "loop_held_us",
)
_INDEX = {name: index for index, name in enumerate(NAMES)}
_CELL = struct.Struct("=Q")
_ROW = len(NAMES) * _CELL.size
_OUTCOMES = {
    Outcome.DELIVERED: "delivered",
    Outcome.TEMPORARY: "deferred",
    Outcome.PERMANENT: "failed",
}


class Counters:
    """The shared memory: one row a worker."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._memory = mmap.mmap(-1, rows * _ROW)

    def add(self, row: int, name: str, change: int = 1) -> None:
        """Count in the own row."""
        offset = row * _ROW + _INDEX[name] * _CELL.size
        _CELL.pack_into(self._memory, offset, _CELL.unpack_from(self._memory, offset)[0] + change)

    def raise_to(self, row: int, name: str, value: int) -> None:
        """Keep the largest value seen in the own row."""
        offset = row * _ROW + _INDEX[name] * _CELL.size
        if value > _CELL.unpack_from(self._memory, offset)[0]:
            _CELL.pack_into(self._memory, offset, value)

    def count(self, row: int, event: Event) -> None:
        """Count an event by its kind."""
        match event:
            case Accepted():
                self.add(row, "accepted")
            case Rejected():
                self.add(row, "rejected")
            case Attempted(outcome=outcome):
                self.add(row, _OUTCOMES[outcome])
            case Authenticated(succeeded=succeeded):
                self.add(row, "logins" if succeeded else "failed_logins")
            case DsnSent():
                self.add(row, "dsns")
            case _:
                pass

    def read(self) -> dict[str, int]:
        """Sums over all rows; of `loop_held_us` the largest."""
        rows = [self.read_row(row) for row in range(self._rows)]
        sums = {name: sum(row[name] for row in rows) for name in NAMES}
        sums["loop_held_us"] = max(row["loop_held_us"] for row in rows)
        return sums

    def read_row(self, row: int) -> dict[str, int]:
        """One worker's counters."""
        values = struct.unpack_from(f"={len(NAMES)}Q", self._memory, row * _ROW)
        return dict(zip(NAMES, values, strict=True))
