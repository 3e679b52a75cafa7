"""How next hops are sped up, slowed down and left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from relevo.delivery.peer_link import PeerLink
from relevo.outbound.destinations import (
    DEFERRED_AT_ONCE,
    DEFERRED_EVERY_S,
    FAILURES_TO_REST,
    FIRST_WIDTH,
    MAX_HOPS,
    HopLimits,
    NextHop,
    NextHops,
)

NOW = 1000.0
LIMITS = HopLimits(width=20, first_rest_s=10, longest_rest_s=60, idle_s=5, reuse=3, age_s=100)


@dataclass
class Link:
    """A connection without one."""

    is_usable: bool = True
    transactions: int = 1
    age_s: float = 1.0
    is_closed: bool = False

    def close(self) -> None:
        self.is_closed = True
        self.is_usable = False


def keep(hop: NextHop, link: Link, now: float = NOW, kind: tuple[str, ...] = ()) -> None:
    hop.keep(cast("PeerLink", link), "h", "h (1.2.3.4:25)", kind, now)


def resting() -> NextHop:
    hop = NextHop(LIMITS)
    for _ in range(FAILURES_TO_REST):
        hop.failed(NOW, "no connection")
    return hop


def test_a_next_hop_begins_with_a_few_and_grows_to_its_limit() -> None:
    hop = NextHop(LIMITS)
    widths = []
    for _ in range(30):
        widths.append(hop.pace(NOW).width)
        hop.succeeded()
    assert widths[:3] == [FIRST_WIDTH, FIRST_WIDTH + 1, FIRST_WIDTH + 2]
    assert max(widths) == 20


def test_a_limit_below_the_first_width_holds() -> None:
    assert NextHop(HopLimits(width=1)).pace(NOW).width == 1


def test_who_is_told_to_slow_down_halves() -> None:
    hop = NextHop(LIMITS)
    for _ in range(30):
        hop.succeeded()
    hop.was_slowed()
    assert hop.pace(NOW).width == 10
    for _ in range(10):
        hop.was_slowed()
    assert hop.pace(NOW).width == 1


def test_few_failures_between_successes_bring_no_rest() -> None:
    hop = NextHop(LIMITS)
    for _ in range(10):
        hop.failed(NOW, "x")
        hop.failed(NOW, "x")
        assert not hop.is_resting(NOW)
        hop.succeeded()


def test_failures_in_a_row_bring_rests_that_grow() -> None:
    hop = resting()
    assert hop.is_resting(NOW + 9)
    now, lengths = NOW, []
    for _ in range(6):
        lengths.append(hop.rest_until - now)
        now = hop.rest_until
        assert hop.pace(now).width == 1, "one tries for all"
        hop.failed(now, "still not")
    for length, least in zip(lengths, (10, 20, 40, 60, 60, 60), strict=True):
        assert least <= length <= least * 1.2


def test_a_failure_of_what_was_under_way_does_not_lengthen_the_rest() -> None:
    hop = resting()
    until = hop.rest_until
    hop.failed(NOW + 1, "another one of then")
    assert hop.rest_until == until


def test_a_success_ends_all_of_it() -> None:
    hop = resting()
    hop.succeeded()
    assert not hop.is_resting(NOW)
    assert hop.pace(NOW).width > 1
    hop.failed(NOW, "x")
    assert not hop.is_resting(NOW)


def test_while_it_rests_units_are_deferred_at_a_bounded_rate() -> None:
    hop = resting()
    pace = hop.pace(NOW)
    assert (pace.room, pace.is_resting) == (DEFERRED_AT_ONCE, True)
    assert pace.opens_at == hop.rest_until  # if nothing is late now
    hop.deferred(NOW)
    pace = hop.pace(NOW)
    assert (pace.room, pace.opens_at) == (0, NOW + DEFERRED_EVERY_S)
    assert hop.pace(NOW + DEFERRED_EVERY_S).room == DEFERRED_AT_ONCE


def test_turns_keep_to_the_rate() -> None:
    hop = NextHop(HopLimits(per_minute=60))
    assert [hop.turn(NOW) for _ in range(3)] == [0, 1, 2]
    assert hop.turn(NOW + 10) == 0
    assert NextHop(HopLimits()).turn(NOW) == 0


def test_a_turn_that_is_too_far_away_is_not_taken() -> None:
    """Who is sent away must not push the others' turns into tomorrow."""
    hop = NextHop(HopLimits(per_minute=2))
    assert [hop.turn(NOW) for _ in range(1000)] == [0, 30, 60, *[None] * 997]
    assert hop.turn(NOW + 60) == 30


def test_no_more_units_are_held_than_have_their_turn_in_a_minute() -> None:
    hop = NextHop(HopLimits(per_minute=5))
    for _ in range(20):
        hop.succeeded()
    assert hop.pace(NOW).room == 5
    assert NextHop(HopLimits(per_minute=0.1)).pace(NOW).room == 1


def test_the_connection_used_last_is_used_next() -> None:
    hop, first, second = NextHop(LIMITS), Link(), Link()
    keep(hop, first)
    keep(hop, second)
    kept = hop.take_idle(NOW + 1, ())
    assert kept is not None
    assert cast("Link", kept.link) is second


def test_dead_old_and_worn_connections_are_not_kept() -> None:
    hop = NextHop(LIMITS)
    for link in (Link(is_usable=False), Link(transactions=3), Link(age_s=100)):
        keep(hop, link)
        assert link.is_closed
    late, dead = Link(), Link()
    keep(hop, late)
    keep(hop, dead, NOW + 4)
    dead.is_usable = False
    assert hop.take_idle(NOW + 5, ()) is None
    assert late.is_closed


def test_a_connection_of_another_kind_is_left_for_others() -> None:
    hop, link = NextHop(LIMITS), Link()
    keep(hop, link, kind=("d.test", "192.0.2.1"))
    assert hop.take_idle(NOW, ()) is None
    assert not link.is_closed
    assert hop.take_idle(NOW, ("d.test", "192.0.2.1")) is not None


def test_a_sweep_closes_what_waited_too_long() -> None:
    hops = NextHops(LIMITS)
    early, late = Link(), Link()
    keep(hops.get("mx:a"), early)
    keep(hops.get("mx:b"), late, NOW + 3)
    assert hops.sweep(NOW + 5)
    assert (early.is_closed, late.is_closed) == (True, False)
    hops.close()
    assert late.is_closed


def test_next_hops_are_bounded_in_number() -> None:
    hops = NextHops(LIMITS)
    link = Link()
    keep(hops.get("mx:oldest"), link)
    for number in range(MAX_HOPS):
        hops.get(f"mx:d{number}")
    assert len(hops) == MAX_HOPS
    assert link.is_closed


def test_asking_for_the_pace_remembers_nothing() -> None:
    hops = NextHops(LIMITS)
    assert hops.pace("mx:new", NOW).width == FIRST_WIDTH
    assert len(hops) == 0
