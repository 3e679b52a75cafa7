"""Figures of hooks in shared memory."""

from __future__ import annotations

import pytest

from relevo.hooks.statistics import ENTRIES, OTHERS, HookOutcome, HookStatistics


def test_rows_add_up_by_name() -> None:
    statistics = HookStatistics(2)
    first, second = statistics.counter(0), statistics.counter(1)
    first.count("hooks/post-data", HookOutcome.ACCEPTED, 0.003)
    second.count("other", HookOutcome.FAILED, 1.0)
    second.count("hooks/post-data", HookOutcome.REJECTED, 0.3)
    other, post_data = statistics.read()[::-1]
    assert (post_data.name, other.name) == ("hooks/post-data", "other")
    assert post_data.calls == 2
    shown = post_data.as_dict()
    assert shown["accepted"] == shown["rejected"] == 1
    assert "failed" not in shown
    assert shown["longest_ms"] == 300.0
    assert shown["mean_ms"] == pytest.approx(151.5)
    assert shown["p50_ms"] == 5.0
    assert shown["p99_ms"] == 300.0


def test_a_worker_started_again_goes_on() -> None:
    statistics = HookStatistics(1)
    statistics.counter(0).count("a", HookOutcome.FOUND, 0.1)
    statistics.counter(0).count("a", HookOutcome.FOUND, 0.1)
    (figures,) = statistics.read()
    assert figures.calls == 2


def test_what_does_not_fit_is_counted_together() -> None:
    statistics = HookStatistics(1)
    counter = statistics.counter(0)
    for number in range(2 * ENTRIES):
        counter.count(f"hook{number}", HookOutcome.ACCEPTED, 0.0)
    found = {figures.name: figures.calls for figures in statistics.read()}
    assert len(found) == ENTRIES
    assert found[OTHERS] == ENTRIES + 1
    assert sum(found.values()) == 2 * ENTRIES


def test_long_calls_have_a_bucket() -> None:
    statistics = HookStatistics(1)
    statistics.counter(0).count("slow", HookOutcome.FAILED, 60.0)
    (figures,) = statistics.read()
    assert figures.buckets[-1] == 1
    assert figures.quantile_ms(0.5) == 60_000.0
