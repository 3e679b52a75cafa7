"""What the sender of a message wishes, from the words of MAIL to what the queue keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relevo.queue.store import Wishes
from relevo.smtp.wishes import NO_WISHES, WishOffers

if TYPE_CHECKING:
    from relevo.config.reception_model import Smtp
    from relevo.smtp.wishes import Wishes as Words


def wish_offers(smtp: Smtp) -> WishOffers | None:
    """What the configuration offers to clients that are trusted with the queue; None: nothing."""
    hold_most = int(smtp.future_release.total_seconds())
    if not (smtp.deliver_by or hold_most or smtp.priority):
        return None
    least = int(smtp.deliver_by_least.total_seconds())
    return WishOffers(
        deliver_by_least=least if smtp.deliver_by else None,
        hold_most=hold_most,
        priority=smtp.priority,
        clock=time.time,
    )


def stored_wishes(words: Words, now: float) -> Wishes | None:
    """For a message that came `now`; None: it has none."""
    if words is NO_WISHES:
        return None
    until, by = words.hold_until, words.deliver_by
    return Wishes(
        deliver_by=None if by is None else float(by.seconds),
        returns=by is not None and by.returns,
        traces=by is not None and by.traces,
        hold=float(words.hold_for or 0) if until is None else max(0.0, until - now),
        is_date=until is not None,
        priority=words.priority,
    )
