"""The security levels of domains: how well protected their mail was at its best.

A level only rises. What is absent is PLAIN, so that a domain costs a row only once there is
something to hold it to. The table is bounded by age and number, the oldest go first; every worker
keeps the domains that it met lately at the best level, so that their mail costs no look-up. That a
domain is at the lowest level is believed for a moment: a look-up waits for the writer thread.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from enum import IntEnum

import apsw

MAX_AGE = 2 * 365 * 86400.0  # seconds after which a domain that was not met is forgotten
MAX_DOMAINS = 200_000
_REFRESHED = 86400.0  # seconds: `seen` is written again when it is older
_KEPT = 10_000  # domains in the memory of a worker
_PLAIN_BELIEVED = 10.0  # seconds: another worker may have raised it meanwhile

_INCOMING = "SELECT incoming, seen FROM domain WHERE name = ?"
_RAISE = """
INSERT INTO domain (name, incoming, outgoing, seen) VALUES (?, ?, 0, ?)
ON CONFLICT (name) DO UPDATE SET
    incoming = max(incoming, excluded.incoming), seen = max(seen, excluded.seen)
"""
_FORGET = """
DELETE FROM domain WHERE name IN (SELECT name FROM domain WHERE seen < ? ORDER BY seen LIMIT ?)
"""
_SURPLUS = "SELECT seen FROM domain ORDER BY seen DESC LIMIT 1 OFFSET ?"

Work = Callable[[apsw.Connection], object]


class SecurityLevel(IntEnum):
    """Of a connection; the numbers stand in the database, and are chasquid's."""

    PLAIN = 0
    TLS_CLIENT = 1  # a client used TLS; the best there is for incoming mail
    TLS_INSECURE = 2  # TLS to a server whose certificate proves nothing
    TLS_SECURE = 3


class DomainLevels:
    """The levels as one worker sees them.

    `look` reads and `write` commits, both in the writer thread; they raise StoreFailed.
    """

    def __init__(
        self,
        look: Callable[[Work], Awaitable[object]],
        write: Callable[[Work], Awaitable[object]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._look = look
        self._write = write
        self._clock = clock
        self._at_best: OrderedDict[str, float] = OrderedDict()  # domain → when it was seen
        self._plain: OrderedDict[str, float] = OrderedDict()  # domain → when it was looked up

    def is_known(self, domain: str, level: SecurityLevel) -> bool:
        """Whether memory has it that `raise_incoming` would change nothing, and give `level`."""
        is_plain = level is SecurityLevel.PLAIN
        times = self._plain if is_plain else self._at_best
        age = self._clock() - times.get(domain, float("-inf"))
        if not age < (_PLAIN_BELIEVED if is_plain else _REFRESHED):
            return False
        times.move_to_end(domain)
        return True

    async def raise_incoming(self, domain: str, level: SecurityLevel) -> SecurityLevel:
        """See `SqliteStore.raise_incoming_level`."""
        now = self._clock()
        if self.is_known(domain, level):
            return level
        known, seen = await self._known(domain)
        reached = max(known, level)
        if level > known or (level == known > SecurityLevel.PLAIN and now - seen >= _REFRESHED):
            seen = now
            await self._write(lambda db: db.execute(_RAISE, (domain, level, now)).fetchall())
        if level is SecurityLevel.TLS_CLIENT:
            _keep(self._at_best, domain, seen)
            self._plain.pop(domain, None)
        elif reached is SecurityLevel.PLAIN:
            _keep(self._plain, domain, now)
        return reached

    async def _known(self, domain: str) -> tuple[SecurityLevel, float]:
        row = await self._look(lambda db: db.execute(_INCOMING, (domain,)).fetchone())
        if row is None:
            return SecurityLevel.PLAIN, 0.0
        assert isinstance(row, tuple)
        return SecurityLevel(row[0]), float(row[1])


def _keep(times: OrderedDict[str, float], domain: str, at: float) -> None:
    times[domain] = at
    times.move_to_end(domain)
    if len(times) > _KEPT:
        times.popitem(last=False)


def oldest_kept(connection: apsw.Connection, now: float, *, most: int = MAX_DOMAINS) -> float:
    """Domains not met since then are to be forgotten: too old, or beyond the `most` newest."""
    row = connection.execute(_SURPLUS, (most - 1,)).fetchone()
    return max(now - MAX_AGE, float(row[0])) if row is not None else now - MAX_AGE


def forget(connection: apsw.Connection, oldest: float, batch: int) -> int:
    """Remove up to `batch` domains not met since `oldest`, inside the caller's transaction.

    Returns how many went; 0: nothing is left to do.
    """
    connection.execute(_FORGET, (oldest, batch))
    return connection.changes()
