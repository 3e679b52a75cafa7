"""What it means that an attempt raised: our disk could not give the message, or we did wrong.

Texts in a `Mishap` are public (`relevo.delivery.attempt`); what names paths goes to the log here.
A unit is held, until it is retried by hand, when trying again has no prospect: the fifth time that
its content was found damaged, or that an attempt met a bug. Content that cannot be read *now* (no
descriptor, an input/output error) is tried again by the schedule, however often that happens.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from relevo.delivery.attempt import INTERNAL_ERROR
from relevo.queue import ContentDamaged, ContentUnreadable
from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.queue.store import Unit

_log = logging.getLogger(__name__)

MAX_RAISES = 5
_MAX_TRACEBACK = 3500


@dataclass(frozen=True, slots=True)
class Mishap:
    """How the unit goes on; `detail` stands in its history."""

    detail: str
    is_held: bool


def judge(unit: Unit, error: Exception, raises: int) -> Mishap:
    """What follows from the error of an attempt, the `raises`-th of this unit; logs it."""
    is_last = raises >= MAX_RAISES
    match error:
        case ContentDamaged():
            _log.error(
                "%s: the stored message is damaged: %s. Restore it from a backup, or remove it "
                "with `relevo queue drop %s`; `relevo queue repair` lists all that are damaged",
                unit.message_id, error, unit.message_id,
            )  # fmt: skip
            detail = "the stored message is damaged, the server's log says more"
            return Mishap(f"held: {detail}" if is_last else detail, is_last)
        case ContentUnreadable():
            _log.error("%s: the stored message cannot be read now: %s", unit.message_id, error)
            return Mishap("the stored message cannot be read now", is_held=False)
    _log.error("%s: the attempt for %s failed", unit.message_id, unit.route, exc_info=error)
    if not is_last:
        return Mishap(INTERNAL_ERROR, is_held=False)
    shown = "".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]
    return Mishap(
        f"held after {raises} internal errors, until it is retried by hand: {shown}", is_held=True
    )
