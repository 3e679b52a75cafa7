"""Attempts end when their sender's time is over, and the urgent go first."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from relevo.delivery.bounce import is_of_interest, notify
from relevo.delivery.lane import Lane
from relevo.delivery.settlement import Fate, Settled
from relevo.delivery.wishes import expired, is_relay_told, next_due
from relevo.journal import Outcome
from relevo.queue.store import MemoryContent, Unit, Wishes
from unit.delivery.samples import NOW, mail, make_unit, surroundings
from unit.delivery.test_dispatcher import Script


def wishing(wishes: Wishes | None, *, created: float = NOW, name: str = "m1") -> Unit:
    unit = make_unit(route="mx:d.test", created=created, message_id=name)
    return replace(unit, envelope=replace(unit.envelope, wishes=wishes))


def test_what_is_to_come_back_is_not_tried_after_its_time() -> None:
    unit = wishing(Wishes(deliver_by=60.0, returns=True))
    assert expired(unit, NOW + 59) is None
    result = expired(unit, NOW + 60)
    assert result is not None
    assert (result.outcome, result.status) == (Outcome.PERMANENT, "5.4.7")


@pytest.mark.parametrize("wishes", [None, Wishes(deliver_by=60.0), Wishes(priority=3)])
def test_all_else_is_tried(wishes: Wishes | None) -> None:
    assert expired(wishing(wishes), NOW + 999_999) is None


def test_the_last_moment_is_not_missed() -> None:
    unit = wishing(Wishes(deliver_by=60.0))
    assert next_due(unit, NOW + 10, NOW + 600) == NOW + 60
    assert next_due(unit, NOW + 10, NOW + 20) == NOW + 20
    assert next_due(unit, NOW + 60, NOW + 600) == NOW + 600
    assert next_due(wishing(None), NOW, NOW + 600) == NOW + 600


@pytest.mark.parametrize(
    ("wishes", "keeps_time", "is_told"),
    [
        (None, False, False),
        (Wishes(priority=1), False, False),
        (Wishes(deliver_by=60.0), False, True),
        (Wishes(deliver_by=60.0), True, False),
        (Wishes(deliver_by=60.0, traces=True), True, True),
    ],
)
def test_who_hears_of_a_relay(wishes: Wishes | None, keeps_time: bool, is_told: bool) -> None:
    assert is_relay_told(wishing(wishes), keeps_time=keeps_time) is is_told


@pytest.mark.parametrize(("notified", "is_told"), [((), True), (("NEVER",), False)])
def test_a_relay_is_reported_unless_nothing_is_to_be(
    notified: tuple[str, ...], is_told: bool
) -> None:
    unit = wishing(Wishes(deliver_by=3600.0, priority=4))
    settled = Settled(mail("c@d.test", notify=notified), Fate.DELIVERED, is_relay_told=True)
    assert is_of_interest(settled) is is_told
    told = asyncio.run(notify(unit, [settled], surroundings(), now=NOW, may_postpone=False))
    if not is_told:
        assert told is None
        return
    assert told is not None
    assert told.dsn.envelope.wishes == Wishes(priority=4)
    content = told.dsn.content
    assert isinstance(content, MemoryContent)
    assert b"Action: relayed" in content.data
    assert b"Deliver-By-Date: " in content.data


def test_a_lane_has_the_urgent_first_and_equals_in_their_order() -> None:
    lane = Lane(Script(), 1, 100)
    ordinary = [wishing(None, created=NOW + n, name=f"o{n}") for n in range(3)]
    low = wishing(Wishes(priority=-1), created=NOW, name="low")
    for unit in (low, *ordinary[:2], wishing(Wishes(priority=2), name="high"), ordinary[2]):
        lane.put(unit, is_repeat=False)
    order = []
    while (queued := lane.take()) is not None:
        order.append(queued.unit.message_id)
    assert order == ["high", "o0", "o1", "o2", "low"]
    assert lane.octets == 0
