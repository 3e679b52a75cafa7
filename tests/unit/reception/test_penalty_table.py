"""The shared table: sums over workers, forgiving, and eviction of who has least to tell."""

from __future__ import annotations

import pytest

from relevo.config.penalty_model import Penalties
from relevo.reception.admission import source_key, source_name
from relevo.reception.penalties import Standing, rules_of
from relevo.reception.penalty_table import SLOTS, PenaltyTable

RULES = rules_of(Penalties())
KEY = source_key("192.0.2.7")


def test_a_source_nobody_wrote_of_has_a_clean_standing() -> None:
    assert PenaltyTable(2).standing(KEY, 5.0, RULES) == Standing(5.0)


def test_what_workers_wrote_is_added_up() -> None:
    table = PenaltyTable(2)
    table.write(0, KEY, Standing(10.0, score=3.0, refused_until=12.0), RULES)
    table.write(1, KEY, Standing(10.0, score=4.0, refused_until=20.0), RULES)
    total = table.standing(KEY, 10.0, RULES)
    assert (total.score, total.refused_until) == (7.0, 20.0)


def test_points_that_were_taken_back_leave_none_below_zero() -> None:
    table = PenaltyTable(2)
    table.write(0, KEY, Standing(10.0, score=-3.0), RULES)
    assert table.standing(KEY, 10.0, RULES).score == 0
    table.write(1, KEY, Standing(10.0, score=5.0), RULES)
    assert table.standing(KEY, 10.0, RULES).score == 2.0


def test_forgiving_one_source_leaves_the_others() -> None:
    table = PenaltyTable(2)
    other = source_key("192.0.2.8")
    for row in range(2):
        table.write(row, KEY, Standing(10.0, score=3.0), RULES)
        table.write(row, other, Standing(10.0, score=3.0), RULES)
    table.forgive(KEY, 11.0)
    assert table.standing(KEY, 11.0, RULES) == Standing(11.0)
    assert table.standing(other, 11.0, RULES).score > 5
    table.write(0, KEY, Standing(12.0, score=1.0), RULES)
    assert table.standing(KEY, 12.0, RULES).score == 1.0, "what comes after it counts"


def test_forgiving_all() -> None:
    table = PenaltyTable(1)
    table.write(0, KEY, Standing(10.0, score=3.0), RULES)
    table.forgive_all(10.5)
    assert table.standings(11.0, RULES) == {}


def test_a_flood_of_sources_does_not_push_out_who_is_refused() -> None:
    table = PenaltyTable(1)
    table.write(0, KEY, Standing(10.0, score=120.0, refused_until=1e6), RULES)
    for number in range(3 * SLOTS):
        source = source_key(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        table.write(0, source, Standing(11.0, connections=1.0), RULES)
    assert table.standing(KEY, 12.0, RULES).is_refused(12.0)
    assert len(table.standings(12.0, RULES)) <= SLOTS


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%lo", "fe80::/64"),
        ("no address", "unknown"),
    ],
)
def test_a_source_has_its_name_back(ip: str, name: str) -> None:
    assert source_name(source_key(ip)) == name
