"""What is remembered between attempts is bounded."""

from __future__ import annotations

from relevo.delivery.ledger import CAPACITY, UnitLedger
from relevo.queue.store import MessageId
from unit.delivery.samples import make_unit


def test_last_unit_of_several() -> None:
    ledger = UnitLedger()
    ledger.expect(MessageId("m1"), 3)
    assert [ledger.is_last(MessageId("m1")) for _ in range(4)] == [False, False, True, True]


def test_unit_of_an_unknown_message_is_the_last() -> None:
    assert UnitLedger().is_last(MessageId("m1"))


def test_raises_are_counted_for_each_unit_until_forgotten() -> None:
    ledger = UnitLedger()
    first, second = make_unit(number=0), make_unit(number=1)
    assert [ledger.raised(first), ledger.raised(first), ledger.raised(second)] == [1, 2, 1]
    ledger.forget_raises(first)
    assert ledger.raised(first) == 1


def test_memory_is_bounded() -> None:
    ledger = UnitLedger()
    for number in range(CAPACITY + 50):
        ledger.expect(MessageId(f"m{number}"), 2)
        ledger.raised(make_unit(message_id=f"m{number}"))
    assert len(ledger._left) == len(ledger._raises) == CAPACITY
