"""What the dispatcher remembers of messages between their attempts. Bounded; lost at a restart."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.queue.store import MessageId, Unit

CAPACITY = 10_000


class UnitLedger:
    """Units left of messages that have several, and how often an attempt has raised.

    Both are aids: of a message not known here, each finished unit counts as the last (its "done"
    may be told more than once), and after a restart raises are counted anew.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[MessageId, int] = OrderedDict()
        self._raises: OrderedDict[tuple[MessageId, int], int] = OrderedDict()

    def expect(self, message_id: MessageId, units: int) -> None:
        """A message with several units came in."""
        self._left[message_id] = units
        if len(self._left) > CAPACITY:
            self._left.popitem(last=False)

    def is_last(self, message_id: MessageId) -> bool:
        """A unit is finished; is nothing left of its message?"""
        left = self._left.pop(message_id, 1) - 1
        if left > 0:
            self._left[message_id] = left
        return left <= 0

    def raised(self, unit: Unit) -> int:
        """An attempt of the unit has raised; how often by now."""
        key = (unit.message_id, unit.number)
        count = self._raises.pop(key, 0) + 1
        self._raises[key] = count
        if len(self._raises) > CAPACITY:
            self._raises.popitem(last=False)
        return count

    def forget_raises(self, unit: Unit) -> None:
        """An attempt of the unit has ended as it should."""
        if self._raises:
            self._raises.pop((unit.message_id, unit.number), None)
