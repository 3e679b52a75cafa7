"""What a source has done lately, as points that fade, and what follows from them. Pure functions.

A `Standing` is one moment of a source (an IPv4 address or an IPv6 /64). Offences add points; points
halve every `penalties.half_life`. From a number of points on answers are delayed, from a higher one
on connections are refused for a while, each further time twice as long up to a bound. Every value
is bounded, and without new offences every value only falls. Standings of several workers add up:
all that fades does so in proportion to itself.

Times are seconds of a monotonic clock that all processes of the machine share.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.config.penalty_model import Penalties

COMMAND_BATCH = 100
"""Commands above the rate that bring one point."""

_RATE_S = 60.0  # counts of connections and commands fade by e in this time: rates a minute
_LOGIN_HALF_LIFE_S = 86_400.0
_REFUSAL_HALF_LIVES = 6.0  # refusals are remembered this much longer than points
_CAP = 2.0  # points at most, times `refuse_from`
_KNOWN = 0.25  # of a login: one keeps a source known as that of users for two days
LEAST_DELAY_S = 0.05
_DOUBLINGS = 30  # beyond it every bound is reached


class Offence(Enum):
    """What brings points."""

    AUTH = "auth"
    RECIPIENT = "recipient"
    PROTOCOL = "protocol"
    CONNECTIONS = "connections"
    COMMANDS = "commands"


@dataclass(frozen=True, slots=True)
class PenaltyRules:
    """[penalties], in seconds and points."""

    points: dict[Offence, float]
    connections_per_minute: float
    commands_per_minute: float
    half_life: float
    delay_from: float
    max_delay: float
    refuse_from: float
    refuse_for: float
    refuse_at_most: float


def rules_of(config: Penalties) -> PenaltyRules:
    """The rules that the configuration sets."""
    return PenaltyRules(
        points={
            Offence.AUTH: config.auth_failure,
            Offence.RECIPIENT: config.unknown_recipient,
            Offence.PROTOCOL: config.protocol_error,
            Offence.CONNECTIONS: 1,
            Offence.COMMANDS: 1,
        },
        connections_per_minute=config.connections_per_minute,
        commands_per_minute=config.commands_per_minute,
        half_life=config.half_life.total_seconds(),
        delay_from=config.delay_from,
        max_delay=config.max_delay.total_seconds(),
        refuse_from=config.refuse_from,
        refuse_for=config.refuse_for.total_seconds(),
        refuse_at_most=config.refuse_at_most.total_seconds(),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a source at `time`; the counts are weighed by age."""

    time: float
    score: float = 0.0
    connections: float = 0.0
    commands: float = 0.0
    logins: float = 0.0
    refusals: float = 0.0  # how often it came to be refused
    refused_until: float = 0.0

    @property
    def is_of_users(self) -> bool:
        """Users have logged in from there lately."""
        return self.logins >= _KNOWN

    def is_refused(self, now: float) -> bool:
        return self.refused_until > now


def decayed(standing: Standing, now: float, rules: PenaltyRules) -> Standing:
    """The standing at `now`, when nothing happens; as it is when `now` lies before its time."""
    age = now - standing.time
    if age <= 0:
        return standing
    fading = 0.5 ** (age / rules.half_life)
    minute = math.exp(-age / _RATE_S)
    return Standing(
        now,
        standing.score * fading,
        standing.connections * minute,
        standing.commands * minute,
        standing.logins * 0.5 ** (age / _LOGIN_HALF_LIFE_S),
        standing.refusals * 0.5 ** (age / (rules.half_life * _REFUSAL_HALF_LIVES)),
        standing.refused_until,
    )


def together(one: Standing, other: Standing) -> Standing:
    """Two workers' knowledge of a source; both decayed to the same time."""
    return Standing(
        max(one.time, other.time),
        one.score + other.score,
        one.connections + other.connections,
        one.commands + other.commands,
        one.logins + other.logins,
        one.refusals + other.refusals,
        max(one.refused_until, other.refused_until),
    )


def points_for(offence: Offence, total: Standing, rules: PenaltyRules, times: float = 1.0) -> float:
    """Points that an offence adds to the score `total.score`, which stays bounded."""
    most = _CAP * rules.refuse_from - total.score
    return max(0.0, min(rules.points[offence] * times, most))


def delay_of(score: float, rules: PenaltyRules) -> float:
    """Seconds that an answer is held back: 0 below `delay_from`, then growing with the score."""
    if score < rules.delay_from:
        return 0.0
    width = rules.refuse_from - rules.delay_from
    share = min(1.0, (score - rules.delay_from) / width) if width > 0 else 1.0
    return min(rules.max_delay, max(LEAST_DELAY_S, rules.max_delay * share * share))


def refusal_of(total: Standing, now: float, rules: PenaltyRules) -> float:
    """Seconds that the source is to be refused from now on; 0: it is not, or is already."""
    if total.score < rules.refuse_from or total.is_refused(now):
        return 0.0
    return float(min(rules.refuse_at_most, rules.refuse_for * 2 ** min(total.refusals, _DOUBLINGS)))
