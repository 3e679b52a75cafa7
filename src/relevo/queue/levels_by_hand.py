"""Security levels of domains for the operator: listed, taken over from elsewhere, or forgotten.

Each is one transaction, taken in turn with the workers'. Raises apsw.Error, OSError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw

from relevo.queue.database import QueuePaths, Transaction, Turn, connect
from relevo.queue.disk import Disk

T = TypeVar("T")

_RAISE = """
INSERT INTO domain (name, incoming, outgoing, seen) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET
    incoming = max(incoming, excluded.incoming), outgoing = max(outgoing, excluded.outgoing),
    seen = max(seen, excluded.seen)
"""
_LIST = "SELECT name, incoming, outgoing, seen FROM domain ORDER BY name"
_FORGET = "DELETE FROM domain WHERE name = ?"


@dataclass(frozen=True, slots=True)
class KnownLevels:
    """What is known of a domain; the name normalized, the levels as in `relevo.queue.levels`."""

    name: str
    incoming: int
    outgoing: int
    seen: float = 0.0  # when a level was last met; seconds since the epoch


def raise_levels(data_dir: Path, levels: Iterable[KnownLevels], *, now: float) -> int:
    """Each level becomes at least what is given; returns how many domains were told of."""
    rows = [(one.name, one.incoming, one.outgoing, now) for one in levels]

    def change(connection: apsw.Connection) -> int:
        connection.executemany(_RAISE, rows)
        return len(rows)

    return _in_turn(data_dir, change)


def list_levels(data_dir: Path) -> list[KnownLevels]:
    """All domains with a level above PLAIN, by name."""
    return _in_turn(data_dir, lambda db: [KnownLevels(*row) for row in db.execute(_LIST)])


def forget_levels(data_dir: Path, name: str) -> bool:
    """Whether anything was known of the domain; both levels are PLAIN now."""

    def change(connection: apsw.Connection) -> bool:
        connection.execute(_FORGET, (name,))
        return connection.changes() > 0

    return _in_turn(data_dir, change)


def _in_turn(data_dir: Path, work: Callable[[apsw.Connection], T]) -> T:
    paths = QueuePaths(data_dir)
    connection = connect(paths, Disk())
    turn = Turn(paths)
    try:
        with turn, Transaction(connection):
            return work(connection)
    finally:
        turn.close()
        connection.close()
