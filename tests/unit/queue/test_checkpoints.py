"""Upkeep: the WAL stays short, history within its bounds, without touching the commits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.queue import checkpoints
from relevo.queue.database import QueuePaths, Transaction, Turn, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.generations import Generation
from relevo.queue.reading import open_reader
from unit.queue.samples import (
    NOW,
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


def test_upkeep_that_fails_is_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def fail(*_: object, **__: object) -> int:
        nonlocal calls
        calls += 1
        raise OSError(errno.EIO, "told to")

    monkeypatch.setattr(checkpoints, "_FAILED_WAIT", 0.01)
    monkeypatch.setattr(checkpoints, "compact", fail)
    swept = []
    monkeypatch.setattr(checkpoints, "sweep", lambda *_: swept.append(1))
    monkeypatch.setattr(checkpoints, "_SWEEP_EVERY", 0.0)

    async def check() -> None:
        async with opened(tmp_path, checkpoints=True):
            await until(lambda: len(swept) > 20)

    run(check())
    assert calls == 1
    assert len([one for one in caplog.records if "upkeep" in one.message]) == 1


def test_nothing_is_forgotten_by_its_age_after_the_clock_was_set_far_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest: list[float] = []
    moved = [0.0]

    def prune(*_: object, **bounds: float) -> int:
        oldest.append(bounds["oldest"])
        return 0

    monkeypatch.setattr(checkpoints, "prune", prune)
    monkeypatch.setattr(checkpoints, "_PRUNE_EVERY", 0.0)
    create_database(tmp_path)
    paths = QueuePaths(tmp_path)
    with (
        contextlib.closing(connect(paths, Disk())) as connection,
        contextlib.closing(Turn(paths)) as turn,
    ):
        with turn, Transaction(connection):
            generation = Generation(paths.spool, connection)
        keeper = checkpoints.Keeper(
            paths, Disk(), checkpoints.HistoryBounds(86400.0, 1000), generation,
            clock=lambda: NOW + moved[0],
        )  # fmt: skip
        try:
            run(until(lambda: bool(oldest)))
            assert set(oldest) == {NOW - 86400.0}
            moved[0] = 10 * 365 * 86400.0
            run(until(lambda: oldest[-1] != NOW - 86400.0))
            assert oldest[-1] == 0.0
        finally:
            keeper.stop()
            generation.close()
