"""How many connections are open, over all workers: total and per source.

The numbers stand in memory that the supervisor maps before it forks. Each worker writes only its
own row and reads all rows, so no lock is needed; the supervisor clears the row of a worker that
died. Sources are counted by IPv4 address or IPv6 /64, in a table of fixed size a row: what does
not fit is not counted (a bound on memory is worth more than an exact answer under such a flood,
where the total limit holds anyway).
"""

from __future__ import annotations

import ipaddress
import mmap
import struct
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

_SLOTS = 16384  # sources a row; a power of two
_PROBES = 16
_ENTRY = struct.Struct("=QQ")  # key, count
_HEADER = 64
_ROW = _HEADER + _SLOTS * _ENTRY.size
_TOTAL = struct.Struct("=Q")
_UNNAMED = 2  # the key of connections whose source is not known yet; no address has it


class Admission(Enum):
    """May a new connection come in?"""

    ADMITTED = "admitted"
    TOO_MANY = "too many connections"
    TOO_MANY_FROM_SOURCE = "too many connections from your address"
    PENALIZED = "too many errors came from your address"


@lru_cache(maxsize=4096)
def source_key(ip: str) -> int:
    """One number for what is counted as one source; never 0."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return 1
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return int(address.ipv4_mapped) | 1 << 40
        return (int(address) >> 64) | 1 << 63
    return int(address) | 1 << 40


def source_name(key: int) -> str:
    """The source that `source_key` made the number of: `192.0.2.7`, `2001:db8::/64`."""
    if key >> 63:
        prefix = key ^ 1 << 63
        if prefix >> 60 == 7:  # no such networks are in use: it was fe80::/10 or the like
            prefix |= 1 << 63
        return f"{ipaddress.IPv6Address(prefix << 64)}/64"
    if key >> 40:
        return str(ipaddress.IPv4Address(key & 0xFFFFFFFF))
    return "unknown"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """[limits] connections and connections_per_source."""

    total: int
    per_source: int


class ConnectionTable:
    """The shared memory: one row a worker."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._memory = mmap.mmap(-1, rows * _ROW)

    def clear(self, row: int) -> None:
        """Forget the connections of a worker that is gone."""
        self._memory[row * _ROW : (row + 1) * _ROW] = bytes(_ROW)

    def total(self) -> int:
        """Open connections of all workers."""
        return sum(_TOTAL.unpack_from(self._memory, row * _ROW)[0] for row in range(self._rows))

    def count(self, key: int) -> int:
        """Open connections of one source, over all workers."""
        found = 0
        for row in range(self._rows):
            offset = self._find(row, key)
            if offset is not None:
                entry_key, count = _ENTRY.unpack_from(self._memory, offset)
                if entry_key == key:
                    found += count
        return found

    def add(self, row: int, key: int, change: int) -> None:
        """Count a connection of the own row in (+1) or out (-1)."""
        memory = self._memory
        base = row * _ROW
        total = _TOTAL.unpack_from(memory, base)[0]
        _TOTAL.pack_into(memory, base, max(0, total + change))
        offset = self._find(row, key)
        if offset is None:
            return
        entry_key, count = _ENTRY.unpack_from(memory, offset)
        if entry_key != key:
            count = 0
        if count + change >= 0:
            _ENTRY.pack_into(memory, offset, key, count + change)

    def _find(self, row: int, key: int) -> int | None:
        """Offset of the key's entry, else of the first free one in reach, else None.

        An entry whose count fell to 0 is free for another key but does not end the search.
        """
        base = row * _ROW + _HEADER
        start = key * 0x9E3779B97F4A7C15 >> 20
        free: int | None = None
        for probe in range(_PROBES):
            offset = base + ((start + probe) & (_SLOTS - 1)) * _ENTRY.size
            entry_key, count = _ENTRY.unpack_from(self._memory, offset)
            if entry_key == key:
                return offset
            if count == 0 and free is None:
                free = offset
            if entry_key == 0:
                break
        return free


class Gate:
    """Admission as one worker sees it."""

    def __init__(self, table: ConnectionTable, row: int, limits: ConnectionLimits) -> None:
        self._table = table
        self._row = row
        self.limits = limits

    def enter(self, ip: str) -> Admission:
        """Count a new connection; a refused one is not counted and must not `leave`."""
        key = source_key(ip)
        if self._table.total() >= self.limits.total:
            return Admission.TOO_MANY
        if self._table.count(key) >= self.limits.per_source:
            return Admission.TOO_MANY_FROM_SOURCE
        self._table.add(self._row, key, 1)
        return Admission.ADMITTED

    def leave(self, ip: str) -> None:
        """A connection that was admitted is closed."""
        self._table.add(self._row, source_key(ip), -1)

    def enter_unnamed(self) -> Admission:
        """Count a connection whose source its proxy will name: only the total limits it."""
        if self._table.total() >= self.limits.total:
            return Admission.TOO_MANY
        self._table.add(self._row, _UNNAMED, 1)
        return Admission.ADMITTED

    def leave_unnamed(self) -> None:
        """Such a connection is closed, or is now counted by its source."""
        self._table.add(self._row, _UNNAMED, -1)

    @property
    def is_busy(self) -> bool:
        """More than 80 % of the total limit is in use: be less patient with silence."""
        return self._table.total() * 5 > self.limits.total * 4
