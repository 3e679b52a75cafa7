"""When an attempt is made by its sender's wish, and when it is not made any more (RFC 2852, 4865).

Pure functions. A message that is to be returned when its time is over is tried until then, and
comes back at that moment; one whose sender only wants to know is tried on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.delivery.attempt import permanent

if TYPE_CHECKING:
    from relevo.delivery.attempt import Result
    from relevo.queue.store import Unit


def expired(unit: Unit, now: float) -> Result | None:
    """What becomes of a unit that may not be delivered any more; None: it may."""
    wishes = unit.envelope.wishes
    if wishes is None or not wishes.returns or now < unit.deadline:
        return None
    return permanent("5.4.7", "not delivered within the time that its sender gave it")


def next_due(unit: Unit, now: float, planned: float) -> float:
    """The next look at a unit that is planned to be tried again: its last moment is not missed."""
    return min(planned, unit.deadline) if now < unit.deadline else planned


def is_relay_told(unit: Unit, *, keeps_time: bool) -> bool:
    """Is the sender to hear that the message was handed on? `keeps_time`: to who knows BY=."""
    wishes = unit.envelope.wishes
    if wishes is None or wishes.deliver_by is None:
        return False
    return wishes.traces or not keeps_time
