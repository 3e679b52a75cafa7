"""Which workers serve which next hop, so that limits hold for the whole server.

A next hop belongs to as many workers as ten connections each are allowed, usually one or two: each
of them has its own connections, and its share of the limits, of the rate and of what is learned.
They are those with the highest hashes of worker and route (rendezvous hashing): every worker comes
to the same result by itself, and when one is gone only what it had changes hands. A worker that
accepts mail for a next hop of others leaves the unit in the store, in the backlog of an owner, and
wakes that one. Local deliveries stay where they are.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from relevo.delivery.routing import route_kind
from relevo.outbound.agent import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

CONNECTIONS_AN_OWNER = 10
LOOK_EVERY_S = 1.0  # at the table of live workers
MAX_REMEMBERED = 20_000  # routes


def owners_of_each(limit: int, workers: int) -> int:
    """Among how many workers a next hop is shared that takes `limit` connections."""
    return max(1, min(workers, limit // CONNECTIONS_AN_OWNER))


class Ownership:
    """The view of one worker. Its methods may be called from any thread."""

    def __init__(
        self,
        row: int,
        count: Callable[[], int],
        live: Callable[[], Mapping[int, int]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`count`: owners of each next hop; `live`: process ids of live workers by their rows."""
        self._row = row
        self._count = count
        self._owners = 1
        self._live = live
        self._clock = clock
        self._seen_at = float("-inf")
        self._pids: Mapping[int, int] = {}
        self._known: dict[str, int] = {}

    def worker_for(self, route: str) -> int:
        """The row of the worker that serves a route, this one if it may."""
        if route_kind(route) not in KINDS:
            return self._row
        self._look()
        known = self._known
        worker = known.get(route)
        if worker is None:
            if len(known) >= MAX_REMEMBERED:
                known.clear()
            worker = known[route] = self._choose(route)
        return worker

    def wake(self, row: int) -> None:
        """Tell another worker that there is more for it."""
        pid = self._pids.get(row)
        if pid:
            try:
                os.kill(pid, signal.SIGUSR1)
            except ProcessLookupError:
                _log.debug("worker %d is gone; it looks at its backlog when it is back", row)

    def _look(self) -> None:
        now = self._clock()
        if now - self._seen_at < LOOK_EVERY_S:
            return
        self._seen_at = now
        pids, owners = dict(self._live()), self._count()
        if pids.keys() != self._pids.keys() or owners != self._owners:
            self._known = {}
        self._pids, self._owners = pids, owners

    def _choose(self, route: str) -> int:
        rows = self._pids.keys() | {self._row}
        order = sorted(rows, key=lambda row: _weight(row, route), reverse=True)
        owners = order[: self._owners]
        return self._row if self._row in owners else owners[self._row % len(owners)]


def _weight(row: int, route: str) -> bytes:
    return hashlib.blake2b(f"{row} {route}".encode(), digest_size=8).digest()
