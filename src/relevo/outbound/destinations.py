"""What is remembered of next hops: how many connections each takes, which are open, who rests.

A next hop starts with a few deliveries at once and gets more with each success, up to its limit.
A refusal that means "slower" (421, 4.7.x, a refused connection) halves them. Where nothing can be
reached any more it rests, first for seconds, then longer and longer, and then one unit tries for
all. While it rests its units stay in the store; those that are late are deferred without a
connection, at a bounded rate, so that senders are told and what is too old is given up.

Times are those of the loop (seconds that never run backwards), passed in. Bounded in number: of
those that rest and have nothing open the one used longest ago is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from random import random
from typing import TYPE_CHECKING

from relevo.delivery.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from relevo.delivery.peer_link import PeerLink

FIRST_WIDTH = 3
FAILURES_TO_REST = 3  # in a row, without a success between them
MAX_HOPS = 10_000
DEFERRED_AT_ONCE = 200  # units of a resting next hop that are leased only to be deferred
DEFERRED_EVERY_S = 1.0
LONGEST_TURN_S = 60.0  # a place in the rate that is further away is not waited for
_HELD = 50  # units for each delivery at once, of a next hop that works
_SPREAD = 0.2  # of a rest, at random


@dataclass(frozen=True, slots=True, kw_only=True)
class HopLimits:
    """What the configuration allows a next hop, in this worker."""

    width: int = 20  # connections at once
    per_minute: float = 0.0  # transactions; 0: no limit
    reuse: int = 100  # transactions of a connection
    idle_s: float = 5.0
    age_s: float = 300.0
    first_rest_s: float = 30.0
    longest_rest_s: float = 600.0


@dataclass(frozen=True, slots=True)
class IdleLink:
    """A connection that waits for work. `host` is the one it leads to."""

    link: PeerLink
    host: str
    shown: str  # host and address, for texts
    kind: tuple[str, ...]  # whom it may serve
    until: float


@dataclass(slots=True)
class NextHop:
    """The state of one next hop."""

    limits: HopLimits
    width: float = 0.0
    failures: int = 0  # in a row
    rests: int = 0  # in a row
    rest_until: float = 0.0
    trouble: str = ""  # the last failure, public
    is_proven: bool = False  # it took something, and did not fail since
    is_forgotten: bool = False  # nobody looks after idle connections any more
    idle: deque[IdleLink] = field(default_factory=deque)
    _next_turn: float = 0.0
    _next_deferral: float = 0.0
    _pace: Pace | None = None  # as long as it holds, with what it is made of
    _paced_by: tuple[int, bool] = (0, False)

    def __post_init__(self) -> None:
        self.width = float(min(FIRST_WIDTH, self.limits.width))

    def is_resting(self, now: float) -> bool:
        return now < self.rest_until

    def pace(self, now: float) -> Pace:
        """How many deliveries may run, and how many units may be held for them."""
        if now < self.rest_until:
            if now < self._next_deferral:
                opens_at = min(self.rest_until, self._next_deferral)
                return Pace(width=1, room=0, opens_at=opens_at, is_resting=True)
            return Pace(width=1, room=DEFERRED_AT_ONCE, opens_at=self.rest_until, is_resting=True)
        width = 1 if self.rests else int(self.width) or 1
        if self._pace is None or self._paced_by != (width, self.is_proven):
            self._paced_by = (width, self.is_proven)
            room = width * (_HELD if self.is_proven else 2)
            if self.limits.per_minute:  # no more than have their turn in a minute wait held
                room = min(room, max(1, int(self.limits.per_minute)))
            self._pace = Pace(width=width, room=room, opens_at=0.0)
        return self._pace

    def deferred(self, now: float) -> None:
        """Units are being deferred: no others are leased for a while."""
        if now >= self._next_deferral:
            self._next_deferral = now + DEFERRED_EVERY_S

    def succeeded(self) -> None:
        """A transaction came to its end, whatever the server thinks of the message."""
        if self.rests:
            self.width = float(min(FIRST_WIDTH, self.limits.width))
        self.is_proven = True
        self.failures = self.rests = 0
        self.rest_until = 0.0
        self.width = min(float(self.limits.width), self.width + 1.0)

    def was_slowed(self) -> None:
        """The server wants less from us."""
        self.width = max(1.0, self.width / 2)

    def failed(self, now: float, trouble: str) -> None:
        """None of its hosts could be used."""
        self.trouble = trouble
        self.is_proven = False
        self.failures += 1
        self.was_slowed()
        if self.is_resting(now) or (not self.rests and self.failures < FAILURES_TO_REST):
            return
        rest = min(self.limits.longest_rest_s, self.limits.first_rest_s * 2**self.rests)
        self.rests = min(self.rests + 1, 30)
        self.rest_until = now + rest * (1 + _SPREAD * random())
        self._next_deferral = 0.0

    def turn(self, now: float) -> float | None:
        """Take a place in the rate of transactions; how many seconds away it is.

        None: the next one is further away than is waited for, and was not taken.
        """
        if not self.limits.per_minute:
            return 0.0
        place = max(now, self._next_turn)
        if place - now > LONGEST_TURN_S:
            return None
        self._next_turn = place + 60.0 / self.limits.per_minute
        return place - now

    # connections

    def take_idle(self, now: float, kind: tuple[str, ...]) -> IdleLink | None:
        """The connection of a kind that was used last and can be used."""
        for at in range(len(self.idle) - 1, -1, -1):
            kept = self.idle[at]
            if not (kept.link.is_usable and now < kept.until):
                del self.idle[at]
                kept.link.close()
            elif kept.kind == kind:
                del self.idle[at]
                return kept
        return None

    def take_shared(self, key: Hashable, addresses: Collection[str], now: float) -> IdleLink | None:
        """A connection that may serve another next hop (see `shared_links`)."""
        for kept in reversed(self.idle):
            link = kept.link
            if link.share_key == key and link.peer_address in addresses:
                self.idle.remove(kept)
                if link.is_usable and now < kept.until:
                    return kept
                link.close()
                return self.take_shared(key, addresses, now)
        return None

    def keep(
        self, link: PeerLink, host: str, shown: str, kind: tuple[str, ...], now: float
    ) -> None:
        """Keep a connection for the next unit, unless it is worn out."""
        limits = self.limits
        is_worn = link.transactions >= limits.reuse or link.age_s >= limits.age_s
        if is_worn or not link.is_usable or not limits.idle_s or self.is_forgotten:
            link.close()
            return
        self.idle.append(IdleLink(link, host, shown, kind, now + limits.idle_s))

    def close_idle(self, now: float | None = None) -> None:
        """Close what waited too long; without a time, all."""
        while self.idle and (now is None or now >= self.idle[0].until):
            self.idle.popleft().link.close()


class NextHops:
    """All next hops of a worker, by name."""

    def __init__(self, limits: HopLimits) -> None:
        self.limits = limits
        self._hops: OrderedDict[str, NextHop] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hops)

    def get(self, name: str) -> NextHop:
        """The next hop of a name, a fresh one where nothing is known."""
        hop = self._hops.get(name)
        if hop is None:
            hop = self._hops[name] = NextHop(self.limits)
            if len(self._hops) > MAX_HOPS:
                _, oldest = self._hops.popitem(last=False)
                oldest.is_forgotten = True
                oldest.close_idle()
        else:
            self._hops.move_to_end(name)
        return hop

    def pace(self, name: str, now: float) -> Pace:
        """As of the next hop; asking does not count as use."""
        hop = self._hops.get(name)
        return NextHop(self.limits).pace(now) if hop is None else hop.pace(now)

    def sweep(self, now: float) -> bool:
        """Close connections that waited too long; are some left?"""
        is_left = False
        for hop in self._hops.values():
            if hop.idle:
                hop.close_idle(now)
                is_left = is_left or bool(hop.idle)
        return is_left

    def close(self) -> None:
        """Close all connections that are not in use."""
        for hop in self._hops.values():
            hop.close_idle()
