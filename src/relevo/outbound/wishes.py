"""What a sender wishes, as it is said to the next server, or in the message where that knows none.

DELIVERBY (RFC 2852 §4.2): the time that is left; a server that needs more than that does not get
the message. MT-PRIORITY (RFC 6710 §4.4): the priority, as a field (RFC 6758) where the server does
not offer it. What was held is let go here and not there.
"""

from __future__ import annotations

from itertools import chain
from math import floor
from typing import TYPE_CHECKING

from relevo.delivery.read_ahead import ReadAhead
from relevo.mail import MT_PRIORITY
from relevo.smtp.wishes import NO_WISHES, DeliverBy, Wishes, least_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relevo.queue.store import Unit


class TimeTooShort(Exception):
    """The server needs more time than is left."""


def words_of(unit: Unit, extensions: Mapping[str, str], now: float) -> Wishes:
    """For MAIL, to a server that offers `extensions`. Raises TimeTooShort."""
    wishes = unit.envelope.wishes
    if wishes is None:
        return NO_WISHES
    by: DeliverBy | None = None
    if wishes.deliver_by is not None and "DELIVERBY" in extensions:
        left = floor(unit.deadline - now)
        least = least_by(extensions["DELIVERBY"])
        if wishes.returns and left < max(1, least):
            raise TimeTooShort(f"{max(0, left)} s are left, the server asks for {max(1, least)}")
        by = DeliverBy(left, wishes.returns, wishes.traces)
    return Wishes(by, priority=wishes.priority)


def with_priority(
    body: Iterable[bytes], size: int, wishes: Wishes, extensions: Mapping[str, str]
) -> tuple[Iterable[bytes], int]:
    """The octets to send and how many they are, with a field for what cannot be said in MAIL."""
    if wishes.priority is None or "MT-PRIORITY" in extensions:
        return body, size
    field = f"{MT_PRIORITY}: {wishes.priority}\r\n".encode()
    if isinstance(body, ReadAhead):
        body.begin_with(field)
    else:
        body = chain((field,), body)
    return body, size + len(field)
