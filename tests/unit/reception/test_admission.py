"""Connections are counted over all workers, in total and per source."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.reception.admission import (
    Admission,
    ConnectionLimits,
    ConnectionTable,
    Gate,
    source_key,
)


def gates(total: int = 10, per_source: int = 5, rows: int = 2) -> list[Gate]:
    table = ConnectionTable(rows)
    return [Gate(table, row, ConnectionLimits(total, per_source)) for row in range(rows)]


def test_the_total_limit_holds_over_workers() -> None:
    first, second = gates(total=4)
    assert [first.enter(f"127.0.0.{n}") for n in range(1, 4)] == [Admission.ADMITTED] * 3
    assert second.enter("127.0.0.9") is Admission.ADMITTED
    assert second.enter("127.0.0.10") is Admission.TOO_MANY


def test_the_limit_per_source_holds_over_workers() -> None:
    first, second = gates(per_source=2)
    assert first.enter("127.0.0.1") is Admission.ADMITTED
    assert second.enter("127.0.0.1") is Admission.ADMITTED
    assert first.enter("127.0.0.1") is Admission.TOO_MANY_FROM_SOURCE
    assert first.enter("127.0.0.2") is Admission.ADMITTED


def test_leaving_makes_room_again() -> None:
    gate, _ = gates(per_source=1)
    assert gate.enter("::1") is Admission.ADMITTED
    assert gate.enter("::1") is Admission.TOO_MANY_FROM_SOURCE
    gate.leave("::1")
    assert gate.enter("::1") is Admission.ADMITTED


def test_a_dead_worker_is_forgotten_by_clearing_its_row() -> None:
    table = ConnectionTable(2)
    limits = ConnectionLimits(2, 2)
    dead, alive = Gate(table, 0, limits), Gate(table, 1, limits)
    assert dead.enter("127.0.0.1") is Admission.ADMITTED
    assert dead.enter("127.0.0.1") is Admission.ADMITTED
    assert alive.enter("127.0.0.1") is Admission.TOO_MANY
    table.clear(0)
    assert alive.enter("127.0.0.1") is Admission.ADMITTED


def test_busy_above_four_fifths() -> None:
    gate, _ = gates(total=5)
    for number in range(4):
        gate.enter(f"127.0.0.{number}")
    assert not gate.is_busy
    gate.enter("127.0.0.9")
    assert gate.is_busy


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param("127.0.0.1", "127.0.0.2", False, id="two IPv4 addresses"),
        pytest.param("2001:db8::1", "2001:db8::2", True, id="one IPv6 /64"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="two IPv6 /64"),
        pytest.param("::ffff:127.0.0.1", "127.0.0.1", True, id="IPv4 mapped"),
        pytest.param("fe80::1%lo", "fe80::2%eth0", True, id="zone left out"),
    ],
)
def test_what_one_source_is(one: str, other: str, is_same: bool) -> None:
    assert (source_key(one) == source_key(other)) is is_same


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=300))
def test_counts_match_a_dictionary(steps: list[tuple[int, bool]]) -> None:
    table = ConnectionTable(1)
    counts: dict[int, int] = {}
    for number, is_entering in steps:
        key = source_key(f"10.0.0.{number}")
        if is_entering:
            table.add(0, key, 1)
            counts[key] = counts.get(key, 0) + 1
        elif counts.get(key):
            table.add(0, key, -1)
            counts[key] -= 1
    assert table.total() == sum(counts.values())
    for key, count in counts.items():
        assert table.count(key) == count


def test_more_sources_than_the_table_holds_keep_the_total_right() -> None:
    table = ConnectionTable(1)
    for number in range(40_000):
        table.add(0, source_key(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), 1)
    assert table.total() == 40_000
