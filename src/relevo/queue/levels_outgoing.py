"""The levels that connections to other domains had at their best, as one worker sees them.

They only rise (chasquid's behaviour; `relevo.queue.levels`). What was looked up is remembered for a
minute: a worker owns its next hops, so only what the operator changes by hand comes later.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relevo.queue.levels import SecurityLevel, Work

REMEMBERED_S = 60.0
MAX_REMEMBERED = 10_000
_REFRESHED = 86400.0  # seconds: `seen` is written again when it is older

_OUTGOING = "SELECT outgoing, seen FROM domain WHERE name = ?"
_RAISE = """
INSERT INTO domain (name, incoming, outgoing, seen) VALUES (?, 0, ?, ?)
ON CONFLICT (name) DO UPDATE SET
    outgoing = max(outgoing, excluded.outgoing), seen = max(seen, excluded.seen)
"""


@dataclass(frozen=True, slots=True)
class _Known:
    level: SecurityLevel
    seen: float
    looked_up: float


class OutgoingLevels:
    """`look` reads and `write` commits, both in the writer thread; they raise StoreFailed."""

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
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def level(self, domain: str) -> SecurityLevel:
        """The best so far; PLAIN for a domain never met."""
        return (await self._find(domain)).level

    async def learned(self, domain: str, level: SecurityLevel) -> None:
        """A connection has this level; a higher one than before is durable on return."""
        known = await self._find(domain)
        now = self._clock()
        if level < known.level or level is SecurityLevel.PLAIN:
            return
        if level == known.level and now - known.seen < _REFRESHED:
            return
        await self._write(lambda db: db.execute(_RAISE, (domain, level, now)).fetchall())
        self._keep(domain, _Known(level, now, now))

    async def _find(self, domain: str) -> _Known:
        now = self._clock()
        known = self._known.get(domain)
        if known is not None and 0 <= now - known.looked_up < REMEMBERED_S:
            return known
        row = await self._look(lambda db: db.execute(_OUTGOING, (domain,)).fetchone())
        if row is None:
            known = _Known(SecurityLevel.PLAIN, 0.0, now)
        else:
            assert isinstance(row, tuple)
            known = _Known(SecurityLevel(row[0]), float(row[1]), now)
        self._keep(domain, known)
        return known

    def _keep(self, domain: str, known: _Known) -> None:
        self._known[domain] = known
        self._known.move_to_end(domain)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
