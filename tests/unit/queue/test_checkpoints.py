"""Upkeep: the WAL stays short, history within its bounds, without touching the commits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.queue import checkpoints
from relevo.queue.reading import open_reader
from unit.queue.samples import (
    SMALL,
    accepted,
    delivered,
    message,
    opened,
    random_octets,
    run,
    until,
)

MIB = 1 << 20
INLINE = replace(SMALL, inline_size=8192)


async def turnover(directory: Path, *, checkpoints: bool, lives: int) -> int:
    """Add and finish many messages; how long the WAL got."""
    longest = 0
    async with opened(directory, options=INLINE, checkpoints=checkpoints) as store:

        async def session(data: bytes) -> None:
            nonlocal longest
            for _ in range(lives // 20):
                (unit,) = await store.add(message(data), lease=True)
                await store.finish(delivered(unit))
                longest = max(longest, (directory / "queue.db-wal").stat().st_size)

        await asyncio.gather(*(session(random_octets(7000, seed)) for seed in range(20)))
    return longest


def test_wal_stays_bounded_with_checkpoints_and_grows_without(tmp_path: Path) -> None:
    bounded = run(turnover(tmp_path / "one", checkpoints=True, lives=3000))
    unbounded = run(turnover(tmp_path / "two", checkpoints=False, lives=3000))
    assert unbounded > 20 * MIB
    assert bounded < unbounded / 2


def test_upkeep_goes_on_after_an_unexpected_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def fail_once(*_: object) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("a row that nobody thought of")
        return 0

    monkeypatch.setattr(checkpoints, "sweep", fail_once)
    monkeypatch.setattr(checkpoints, "_SWEEP_EVERY", 0.0)

    async def check() -> None:
        async with opened(tmp_path, checkpoints=True):
            await until(lambda: calls > 1)

    run(check())


def test_history_is_pruned_by_count_while_the_server_runs(tmp_path: Path) -> None:
    options = replace(SMALL, history_max_events=100, history_max_age=timedelta(days=365_000))

    async def check() -> None:
        async with opened(tmp_path, options=options) as store:
            news = [message() for _ in range(700)]
            await asyncio.gather(
                *(store.add(replace(new, events=(accepted(new.id),)), lease=False) for new in news)
            )
        with open_reader(tmp_path) as reader:
            assert reader.counts().events == 700
            async with opened(tmp_path, options=options, checkpoints=True):
                await until(lambda: reader.counts().events <= 100)
            assert reader.trace(max(new.id for new in news)).events
            assert not reader.trace(min(new.id for new in news)).events

    run(check())


def test_history_is_pruned_by_age(tmp_path: Path) -> None:
    options = replace(SMALL, history_max_age=timedelta(days=1))

    async def check() -> None:
        async with opened(tmp_path, options=options) as store:
            for identity in ("000000001aaaaaaaaaaa", "zzzzzzzzzaaaaaaaaaaa"):
                new = message(identity=identity)
                await store.add(replace(new, events=(accepted(new.id),)), lease=False)
        with open_reader(tmp_path) as reader:
            async with opened(tmp_path, options=options, checkpoints=True):
                await until(lambda: reader.counts().events == 1)
            assert reader.trace("zzzzzzzzzaaaaaaaaaaa").events
            assert reader.counts().messages == 2

    run(check())
