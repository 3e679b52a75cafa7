"""A bound on notifications, so that a flood of failures does not become a flood of DSNs.

Somebody whose address is used by others as the sender of their spam gets a DSN for each message
that cannot be delivered. Each address gets at most so many a minute; what is above is left out and
said in the log, once a minute for each address. The number holds for the server: each worker has an
equal share of it. Memory is bounded: of too many addresses the one that was told longest ago is
forgotten.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass

_log = logging.getLogger(__name__)

MOST_ADDRESSES = 10_000
_MINUTE = 60.0


@dataclass(slots=True)
class _Count:
    """Of an address, within its present minute."""

    since: float
    sent: int = 0
    left_out: int = 0


class NoticeLimits:
    """The share of one worker; `per_minute` 0: no limit."""

    def __init__(self, per_minute: int, workers: int = 1) -> None:
        self._most = max(1, per_minute // workers) if per_minute else 0
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def admits(self, address: str, now: float) -> bool:
        """May the address be sent one more? Counts it."""
        if not self._most:
            return True
        count = self._counts.pop(address, None)
        if count is None or not 0 <= now - count.since < _MINUTE:
            if count is not None and count.left_out:
                _log.warning("%d more DSNs to %s were left out", count.left_out, address)
            count = _Count(now)
        self._counts[address] = count
        if len(self._counts) > MOST_ADDRESSES:
            self._counts.popitem(last=False)
        if count.sent < self._most:
            count.sent += 1
            return True
        if not count.left_out:
            _log.warning(
                "more DSNs to %s within a minute than queue.notices_per_minute allows are left out",
                address,
            )
        count.left_out += 1
        return False
