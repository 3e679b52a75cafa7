"""Message ids: form, order, uniqueness."""

from __future__ import annotations

import os
import re

from relevo.queue.ids import LENGTH, Sequence, new_id, time_prefix

NOW = 1_800_000_000.0


def test_id_is_of_fixed_length_and_safe_in_files_urls_and_headers() -> None:
    for now in (0.0, NOW, 1e10, 1e20):
        assert re.fullmatch(r"[0-9a-z]{20}", Sequence().next(now))
    assert re.fullmatch(r"[0-9a-z]{20}", new_id())


def test_ids_of_one_process_only_grow_also_when_the_clock_is_set_back() -> None:
    ids = [new_id() for _ in range(1000)] + [new_id(5.0) for _ in range(1000)] + [new_id()]
    assert ids == sorted(set(ids))
    assert len(ids) == 2001


def test_ids_sort_by_time_over_processes() -> None:
    assert time_prefix(NOW) < time_prefix(NOW + 0.001) < time_prefix(NOW + 1e6)
    for now in (0.001, NOW, NOW + 0.5, 1e10):
        assert time_prefix(now) < Sequence().next(now) < time_prefix(now + 0.001)
        assert Sequence().next(now).startswith(time_prefix(now))


def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    first = new_id()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        childs = pipe.read()
    assert len(childs) == LENGTH
    assert childs[:9] >= first[:9]
    assert childs not in {first, *(new_id() for _ in range(100))}


def test_a_forked_child_draws_new_bits_within_the_same_millisecond() -> None:
    sequence = Sequence()
    before = sequence.next(NOW)
    sequence.restart()
    after = sequence.next(NOW)
    assert after[:9] == before[:9]
    assert after[9:17] != before[9:17]
