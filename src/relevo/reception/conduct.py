"""Penalties as a worker sees them, and as one connection does.

A `Conduct` is told what its client does and says what follows: a pause before the next answer, an
end, a refusal at the start. It costs a look into the table for each connection and each offence,
and an addition for each command; nothing for a client that is exempt.

Many users may share one address. So a source from which users have logged in lately is never
refused on listeners for users, only slowed down; a successful login takes back one failed one; and
refused recipients of a transaction whose message is accepted for more than were refused count for
nothing. A connection whose client has logged in is exempt from then on.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.reception.admission import source_key
from relevo.reception.networks import is_within
from relevo.reception.penalties import (
    COMMAND_BATCH,
    LEAST_DELAY_S,
    Offence,
    delay_of,
    points_for,
    refusal_of,
    rules_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Config
    from relevo.reception.penalties import PenaltyRules, Standing
    from relevo.reception.penalty_table import PenaltyTable
    from relevo.smtp.events import Violation

logger = logging.getLogger("relevo.penalties")

FREE_REJECTIONS = 10  # refused recipients a connection before answers slow down
REJECTION_DELAY = 0.05  # seconds, times the refusals beyond the free ones
MAX_REJECTION_DELAY = 2.0
_PROTOCOL_ERRORS = frozenset({500, 501, 502, 503, 504, 521})
_COUNTED_OTHERWISE = frozenset({"AUTH", "RCPT"})


def is_offence(violation: Violation) -> bool:
    """Whether what the session refused brings points, and has brought none yet.

    A client that pipelines sends its message after recipients that were all refused.
    """
    if violation.code == 421:
        return violation.verb not in _COUNTED_OTHERWISE
    is_pipelined = violation.code == 503 and violation.verb in {"DATA", "BDAT"}
    return violation.code in _PROTOCOL_ERRORS and not is_pipelined


def rejection_delay(rejected: int) -> float:
    """Seconds that the answer to a connection's so many-th refused recipient takes."""
    return min(max(0, rejected - FREE_REJECTIONS) * REJECTION_DELAY, MAX_REJECTION_DELAY)


class Penalties:
    """One for each worker. Without a table, or while disabled, everybody is exempt."""

    def __init__(
        self,
        table: PenaltyTable | None = None,
        row: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self.row = row
        self.clock = clock
        self.rules: PenaltyRules | None = None
        self._exempt: tuple[str, ...] = ()
        self.count: Callable[[str, str], None] = lambda _family, _label: None

    def use(self, config: Config, count: Callable[[str, str], None]) -> None:
        """From now on these rules hold, also after a reload."""
        self.count = count
        penalties = config.penalties
        self.rules = rules_of(penalties) if penalties.enabled else None
        self._exempt = penalties.exempt

    def rules_for(self, ip: str) -> PenaltyRules | None:
        """None: exempt."""
        if self.table is None or self.rules is None or is_within(ip, self._exempt):
            return None
        return self.rules


class Conduct:
    """What one connection's client does. Call `begin` whenever it is known anew who that is."""

    __slots__ = ("_commands", "_ip", "_is_for_users", "_key", "_penalties", "_refused_points",
                 "_rules", "is_refused", "pause")  # fmt: skip

    def __init__(self, penalties: Penalties, *, is_for_users: bool) -> None:
        self._penalties = penalties
        self._is_for_users = is_for_users
        self._rules: PenaltyRules | None = None
        self._ip = ""
        self._key = 0
        self._commands = 0
        self._refused_points: list[float] = []  # of the present transaction's refused recipients
        self.pause = 0.0  # seconds that answers wait now; whoever waits sets it back
        self.is_refused = False  # the connection is to end; then there is a pause before it

    def begin(self, ip: str) -> None:
        """A connection of this client starts; then look at `is_refused` and `pause`."""
        self._rules = rules = self._penalties.rules_for(ip)
        self.is_refused = False
        self.pause = 0.0
        if rules is None:
            return
        self._ip = ip
        self._key = source_key(ip)
        before = self._know(rules)
        self._add(rules, connections=1.0)
        if before.connections + 1.0 > rules.connections_per_minute:
            before = self._offend(rules, Offence.CONNECTIONS, before)
        self._judge(rules, before)
        if self.is_refused:
            self._rules = None
            self._count("refused")

    def end(self) -> None:
        """The connection is over, or another client takes it."""
        if self._rules is not None:
            self._add_commands(self._rules)
        self._rules = None

    # -- what the client does

    def on_command(self) -> None:
        """MAIL, RCPT or AUTH."""
        self._commands += 1
        if self._commands >= COMMAND_BATCH and self._rules is not None:
            self._add_commands(self._rules)

    def on_offence(self, offence: Offence) -> None:
        """Something that was refused for good."""
        if (rules := self._rules) is not None:
            total = self._offend(rules, offence, self._know(rules))
            self._judge(rules, total)

    def on_transaction(self) -> None:
        """MAIL was accepted."""
        self._refused_points.clear()

    def on_accepted(self, recipients: int) -> None:
        """The transaction's message is stored for so many recipients."""
        points = self._refused_points
        if points and recipients > len(points) and (rules := self._rules) is not None:
            self._take_back(rules, sum(points))
        points.clear()

    def on_login(self) -> None:
        """The client is a user of ours."""
        if (rules := self._rules) is not None:
            self._add(rules, logins=1.0)
            self._take_back(rules, rules.points[Offence.AUTH])
        self.end()
        self.is_refused = False
        self.pause = 0.0

    # -- the table

    def _know(self, rules: PenaltyRules) -> Standing:
        table = self._penalties.table
        assert table is not None
        return table.standing(self._key, self._penalties.clock(), rules)

    def _add(self, rules: PenaltyRules, **changes: float) -> None:
        """Change fields of what this worker knows of the source, by adding."""
        penalties = self._penalties
        table = penalties.table
        assert table is not None
        now = penalties.clock()
        own = table.own(penalties.row, self._key, now, rules)
        values = {name: getattr(own, name) + change for name, change in changes.items()}
        table.write(penalties.row, self._key, replace(own, time=now, **values), rules)

    def _offend(
        self, rules: PenaltyRules, offence: Offence, before: Standing, times: float = 1.0
    ) -> Standing:
        """Add the points of an offence; the standing after it."""
        points = points_for(offence, before, rules, times)
        self._add(rules, score=points)
        self._count(offence.value)
        if offence is Offence.RECIPIENT:
            self._refused_points.append(points)
        after = replace(before, score=before.score + points)
        if before.score < rules.delay_from <= after.score:
            logger.info("%s: answers are delayed, last offence: %s", self._ip, offence.value)
        now = self._penalties.clock()
        seconds = refusal_of(after, now, rules)
        if seconds:
            after = replace(after, refused_until=now + seconds)
            self._refuse(rules, after, now, offence)
        return after

    def _refuse(
        self, rules: PenaltyRules, standing: Standing, now: float, offence: Offence
    ) -> None:
        self._add(rules, refusals=1.0)
        table, row = self._penalties.table, self._penalties.row
        assert table is not None
        own = table.own(row, self._key, now, rules)
        table.write(row, self._key, replace(own, refused_until=standing.refused_until), rules)
        self._count("refusals")
        logger.warning(
            "%s: connections are refused for %d s, %d points, last offence: %s",
            self._ip, standing.refused_until - now, standing.score, offence.value,
        )  # fmt: skip

    def _judge(self, rules: PenaltyRules, standing: Standing) -> None:
        is_spared = self._is_for_users and standing.is_of_users
        self.is_refused = standing.is_refused(self._penalties.clock()) and not is_spared
        self.pause = delay_of(standing.score, rules)
        if self.is_refused:
            self.pause = max(self.pause, LEAST_DELAY_S)
        elif self.pause:
            self._count("delayed")

    def _take_back(self, rules: PenaltyRules, points: float) -> None:
        """No more than there are: the sum over all workers stays at least 0."""
        self._add(rules, score=-min(points, self._know(rules).score))

    def _add_commands(self, rules: PenaltyRules) -> None:
        commands, self._commands = self._commands, 0
        if not commands:
            return
        before = self._know(rules)
        self._add(rules, commands=float(commands))
        if before.commands + commands > rules.commands_per_minute:
            times = commands / COMMAND_BATCH
            self._judge(rules, self._offend(rules, Offence.COMMANDS, before, times))

    def _count(self, label: str) -> None:
        self._penalties.count("penalties", label)
