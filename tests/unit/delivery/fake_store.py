"""A store in memory: what the dispatcher needs of one, with failures on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from relevo.journal import Event
from relevo.queue.store import (
    Leased,
    MessageId,
    NewMessage,
    Place,
    Room,
    SpoolWriter,
    StoreFailed,
    Unit,
    UnitResult,
)

Key = tuple[MessageId, int]


@dataclass
class Row:
    unit: Unit
    due: float | None  # None: leased
    is_in_backlog: bool = False


class FakeStore:
    """Implements `relevo.queue.store.Store`; one worker."""

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.results: list[UnitResult] = []
        self.history: list[Event] = []
        self.failures: list[Exception] = []  # raised by the next calls of finish
        self.lease_failures: list[Exception] = []
        self.release_failure: Exception | None = None
        self.leases = 0
        self.released = 0
        self.gate: asyncio.Event | None = None  # finish waits for it
        self.lease_gate: asyncio.Event | None = None  # lease waits for it
        self._changed = asyncio.Condition()

    async def add(
        self, message: NewMessage, *, lease: bool, place: Place | None = None
    ) -> tuple[Unit, ...]:
        assert place is None
        units = self._insert(message, lease=lease)
        self.history += message.events
        return units if lease else ()

    def _insert(self, message: NewMessage, *, lease: bool) -> tuple[Unit, ...]:
        made = []
        for number, new in enumerate(message.units):
            unit = Unit(
                message.id,
                new.route,
                number,
                message.created,
                0,
                message.envelope,
                new.recipients,
                message.content,
            )
            self.rows[message.id, number] = Row(unit, None if lease else new.due)
            made.append(unit)
        return tuple(made)

    def put(self, unit: Unit, *, due: float | None) -> Unit:
        self.rows[unit.message_id, unit.number] = Row(unit, due)
        return unit

    def spool(self) -> SpoolWriter:
        raise NotImplementedError

    async def lease(self, *, now: float, limit: int) -> tuple[Unit, ...]:
        raise NotImplementedError

    async def lease_in(self, room: Room, *, now: float) -> Leased:
        self.leases += 1
        if self.lease_gate is not None:
            await self.lease_gate.wait()
        if self.lease_failures:
            raise self.lease_failures.pop()
        left: dict[str, int] = {}
        taken: list[Unit] = []
        for row in sorted(self.rows.values(), key=lambda row: row.due or 0.0):
            route = row.unit.route
            if row.due is None or row.due > now:
                continue
            left.setdefault(route, room.of(route))
            left[route] -= 1
            if left[route] >= 0 and len(taken) < room.most:
                row.due = None
                taken.append(row.unit)
            else:
                row.is_in_backlog = True
        full = frozenset(route for route, count in left.items() if count < 0)
        return Leased(tuple(taken), len(taken) == room.most, full)

    async def finish(self, result: UnitResult) -> None:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        key = (result.unit.message_id, result.unit.number)
        row = self.rows[key]
        assert row.due is None, "finished a unit that is not leased"
        if result.due is None:
            del self.rows[key]
        else:
            unit = replace(
                result.unit, recipients=result.recipients, attempts=result.unit.attempts + 1
            )
            self.rows[key] = Row(unit, result.due)
        for dsn in result.dsns:
            self._insert(dsn, lease=False)
        self.history += result.events
        self.results.append(result)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a state that calls of finish lead to."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def release_all(self) -> None:
        if self.release_failure is not None:
            raise self.release_failure
        for row in self.rows.values():
            if row.due is None:
                row.due = 0.0
                self.released += 1

    def record(self, event: Event) -> None:
        self.history.append(event)

    async def next_due(self) -> float | None:
        waiting = (row for row in self.rows.values() if not row.is_in_backlog)
        return min((row.due for row in waiting if row.due is not None), default=None)

    async def waiting(self) -> int:
        return len(self.rows)

    async def close(self) -> None:
        pass


FAILED = StoreFailed("no space left")
