"""What a sender wishes of the delivery: until when, not before when, how urgently.

DELIVERBY (RFC 2852) is BY=seconds;mode, FUTURERELEASE (RFC 4865) HOLDFOR=seconds or HOLDUNTIL=date,
MT-PRIORITY (RFC 6710) a number from -9 to 9. All three are for clients that are trusted with the
queue: those that have logged in, and, but for FUTURERELEASE and a raised priority, those that may
relay. The values are parsed and written here; the clock that dates are compared with is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from relevo.smtp.dates import date, parse_date
from relevo.smtp.replies import Fixed, Reply

KEYWORDS: Final = frozenset({"BY", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY"})
MAX_BY: Final = 999_999_999  # seconds, either way
# by-value = by-time ";" by-mode [by-trace]; by-time = ["-" / "+"] 1*9DIGIT (RFC 2852 §4)
_BY: Final = re.compile(r"([+-]?)([0-9]{1,9});([RN])(T?)", re.IGNORECASE)
_INTERVAL: Final = re.compile(r"[0-9]{1,9}")
# priority-value = (["-"] NZDIGIT) / "0" (RFC 6710 §6)
_PRIORITY: Final = re.compile(r"0|-?[1-9]")
_MINIMUM: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """BY=: seconds from MAIL on; with `returns` (mode R) more than 0."""

    seconds: int
    returns: bool  # mode R: not later; else N: later too, but the sender is told
    traces: bool = False  # each relay is told of

    def __str__(self) -> str:
        seconds = max(-MAX_BY, min(MAX_BY, self.seconds))
        return f"{seconds};{'R' if self.returns else 'N'}{'T' if self.traces else ''}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """All of a transaction. `hold_for` and `hold_until` exclude each other."""

    deliver_by: DeliverBy | None = None
    hold_for: int | None = None  # seconds
    hold_until: float | None = None  # seconds since the epoch
    priority: int | None = None
    is_lowered: bool = False  # the priority is not what was asked for


NO_WISHES: Final = Wishes()


@dataclass(frozen=True, slots=True, kw_only=True)
class WishOffers:
    """What a listener offers to who is trusted; `clock` gives seconds since the epoch."""

    deliver_by_least: int | None = None  # shortest BY= of mode R; None: DELIVERBY is not offered
    hold_most: int = 0  # longest hold, seconds; 0: FUTURERELEASE is not offered
    priority: bool = False
    clock: Callable[[], float] = field(compare=False, repr=False)

    def keywords(self, *, may_hold: bool) -> list[str]:
        """Lines of the EHLO reply."""
        lines: list[str] = []
        if self.deliver_by_least is not None:
            least = self.deliver_by_least
            lines.append(f"DELIVERBY {least}" if least else "DELIVERBY")
        if self.hold_most and may_hold:
            lines.append(f"FUTURERELEASE {self.hold_most} {date(self.clock() + self.hold_most)}")
        if self.priority:
            lines.append("MT-PRIORITY")
        return lines


def parse_wishes(words: dict[str, str | None], offers: WishOffers) -> Wishes | Fixed:
    """The values of `KEYWORDS` among the parameters of MAIL."""
    found = _deliver_by(words["BY"], offers) if "BY" in words else None
    if isinstance(found, Fixed):
        return found
    held = _hold(words, offers)
    if isinstance(held, Fixed):
        return held
    hold_for, hold_until = held
    priority: int | None = None
    if "MT-PRIORITY" in words:
        if not offers.priority:
            return Fixed.PARAMETER_UNKNOWN
        if not _PRIORITY.fullmatch(words["MT-PRIORITY"] or ""):
            return Fixed.PARAMETER_MALFORMED
        priority = int(words["MT-PRIORITY"] or "0")
    if found is not None and found.returns:
        waits = hold_for if hold_until is None else hold_until - offers.clock()
        if waits is not None and found.seconds <= waits:
            return Fixed.DELIVER_BY_BEFORE_RELEASE
    return Wishes(found, hold_for, hold_until, priority)


def _deliver_by(value: str | None, offers: WishOffers) -> DeliverBy | Fixed:
    if offers.deliver_by_least is None:
        return Fixed.PARAMETER_UNKNOWN
    match = _BY.fullmatch(value or "")
    if match is None:
        return Fixed.PARAMETER_MALFORMED
    seconds = -int(match[2]) if match[1] == "-" else int(match[2])
    returns = match[3].upper() == "R"
    if returns and seconds <= 0:  # RFC 2852 §4: malformed
        return Fixed.PARAMETER_MALFORMED
    if returns and seconds < offers.deliver_by_least:
        return Fixed.DELIVER_BY_TOO_SHORT
    return DeliverBy(seconds, returns, bool(match[4]))


def _hold(
    words: dict[str, str | None], offers: WishOffers
) -> tuple[int | None, float | None] | Fixed:
    """HOLDFOR and HOLDUNTIL, of which one may be there (RFC 4865 §3)."""
    if "HOLDFOR" not in words and "HOLDUNTIL" not in words:
        return None, None
    if not offers.hold_most:
        return Fixed.PARAMETER_UNKNOWN
    if "HOLDFOR" in words and "HOLDUNTIL" in words:
        return Fixed.PARAMETER_MALFORMED
    if "HOLDFOR" in words:
        if not _INTERVAL.fullmatch(words["HOLDFOR"] or ""):
            return Fixed.PARAMETER_MALFORMED
        seconds = int(words["HOLDFOR"] or "0")
        return (seconds, None) if seconds <= offers.hold_most else Fixed.RELEASE_TOO_FAR
    until = parse_date(words["HOLDUNTIL"] or "")
    if until is None:
        return Fixed.PARAMETER_MALFORMED
    now = offers.clock()
    if until < now:
        return Fixed.RELEASE_IN_THE_PAST
    # The date that EHLO named is a little older than this one.
    return (None, until) if until <= now + offers.hold_most else Fixed.RELEASE_TOO_FAR


def lowered(wishes: Wishes, *, may_raise: bool) -> Wishes:
    """As far as the client may wish it: a server lowers what it does not trust (RFC 6710 §4.1)."""
    if may_raise or wishes.priority is None or wishes.priority <= 0:
        return wishes
    return replace(wishes, priority=0, is_lowered=True)


def priority_reply(wishes: Wishes) -> Reply:
    """What tells the client of a priority that was lowered."""
    return Reply(250, "2.3.6", f"{wishes.priority} is the priority of the message")


def least_by(offered: str) -> int:
    """The shortest BY= that the parameter of a server's DELIVERBY allows; 0: any (RFC 2852 §3)."""
    match = _MINIMUM.match(offered.strip())
    return int(match[0]) if match else 0
