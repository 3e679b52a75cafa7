"""The standings of all sources in memory of fixed size that the supervisor maps before it forks.

Each worker writes only its own row and adds up all rows when it reads, so no lock is needed; one
more row is the supervisor's, who notes there what an operator has forgiven. Reading or writing is
a few additions in shared memory, without a system call. A row has room for `SLOTS` sources; where
it is full, of the places that a source may take the one with the least to tell is given up.

Nothing survives a restart: every source starts clean.
"""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relevo.reception.penalties import Standing, decayed, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.reception.penalties import PenaltyRules

SLOTS: Final = 8192  # sources a row; a power of two

_PROBES = 16
_CELLS = 8  # of 8 octets: the key, then the fields of a Standing in their order
_ROW = (SLOTS + 1) * _CELLS  # the first entry's time: when all was forgiven
_NOTHING = Standing(0.0)


class PenaltyTable:
    """The shared memory: one row a worker, and the supervisor's."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        memory = memoryview(mmap.mmap(-1, (workers + 1) * _ROW * 8))
        self._keys = memory.cast("Q")
        self._values = memory.cast("d")

    # -- by a worker

    def standing(self, key: int, now: float, rules: PenaltyRules) -> Standing:
        """What all workers know of a source together, at `now`."""
        total = Standing(now)
        for row in range(self._workers):
            own = self.own(row, key, now, rules)
            if own is not _NOTHING:
                total = together(total, own)
        if total.score < 0:  # one took back what another one, which has forgotten it, gave
            total = replace(total, score=0.0)
        return total

    def own(self, row: int, key: int, now: float, rules: PenaltyRules) -> Standing:
        """What one worker knows of it, at `now`; what was forgiven is gone."""
        entry = self._find(row, key)
        if entry < 0:
            return _NOTHING
        standing = self._read(entry)
        if standing.time <= self._forgiven(key):
            return _NOTHING
        return decayed(standing, now, rules)

    def write(self, row: int, key: int, standing: Standing, rules: PenaltyRules) -> None:
        """Keep what this worker knows of a source. Only the row's own worker writes."""
        entry = self._find(row, key)
        if entry < 0:
            entry = self._place_for(row, key, standing.time, rules)
        self._put(entry, key, standing)

    # -- by the supervisor

    def forgive(self, key: int, now: float) -> None:
        """From now on nothing that the source did before counts."""
        row = self._workers
        entry = self._find(row, key)
        if entry < 0:
            entry = min(self._places(row, key), key=lambda place: self._values[place + 1])
        self._put(entry, key, Standing(now))

    def forgive_all(self, now: float) -> None:
        """The same for every source."""
        self._values[self._workers * _ROW + 1] = now

    def standings(self, now: float, rules: PenaltyRules) -> dict[int, Standing]:
        """All sources with anything to tell. Reads the whole table: milliseconds."""
        found: dict[int, Standing] = {}
        for row in range(self._workers):
            for entry in range(row * _ROW + _CELLS, (row + 1) * _ROW, _CELLS):
                key = self._keys[entry]
                if key and key not in found:
                    found[key] = self.standing(key, now, rules)
        return {key: standing for key, standing in found.items() if standing != Standing(now)}

    # -- entries: indexes of cells; -1: none

    def _places(self, row: int, key: int) -> Iterator[int]:
        start = key * 0x9E3779B97F4A7C15 >> 20
        base = row * _ROW + _CELLS
        for probe in range(_PROBES):
            yield base + ((start + probe) & (SLOTS - 1)) * _CELLS

    def _find(self, row: int, key: int) -> int:
        keys = self._keys
        for entry in self._places(row, key):
            found = keys[entry]
            if found == key:
                return entry
            if not found:
                return -1
        return -1

    def _place_for(self, row: int, key: int, now: float, rules: PenaltyRules) -> int:
        """A free place, else the one whose source is refused no more and has the least points."""

        def worth(entry: int) -> tuple[bool, float, float]:
            if not self._keys[entry]:
                return False, -1.0, 0.0
            standing = self._read(entry)
            return standing.is_refused(now), decayed(standing, now, rules).score, standing.time

        return min(self._places(row, key), key=worth)

    def _read(self, entry: int) -> Standing:
        return Standing(*self._values[entry + 1 : entry + _CELLS])

    def _put(self, entry: int, key: int, standing: Standing) -> None:
        values = self._values
        values[entry + 1] = standing.time
        values[entry + 2] = standing.score
        values[entry + 3] = standing.connections
        values[entry + 4] = standing.commands
        values[entry + 5] = standing.logins
        values[entry + 6] = standing.refusals
        values[entry + 7] = standing.refused_until
        self._keys[entry] = key  # last: nobody is to read another's values under it

    def _forgiven(self, key: int) -> float:
        row = self._workers
        of_all = self._values[row * _ROW + 1]
        entry = self._find(row, key)
        return of_all if entry < 0 else max(of_all, self._values[entry + 1])
