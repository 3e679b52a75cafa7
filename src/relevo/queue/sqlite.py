"""The embedded engine of `Store`: SQLite for rows and small content, the spool for the rest.

One `SqliteStore` a worker, opened after forking, used from one loop. The 250 of a message depends
on `add`; what is answered here is on stable storage. All writes go through the writer thread
(`relevo.queue.writer`); this module turns values into rows and back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import apsw

from relevo.journal.events import Event
from relevo.queue import leases, quarantine
from relevo.queue.backlog import Circle, Round, backlog_of, may_take, take_round
from relevo.queue.checkpoints import HistoryBounds, Keeper
from relevo.queue.commit import Adding, Calling, Finishing, NewRows, Request, release_units
from relevo.queue.database import QueuePaths
from relevo.queue.disk import Disk
from relevo.queue.health import Health
from relevo.queue.history import Buffer, Numbers
from relevo.queue.levels import DomainLevels, SecurityLevel
from relevo.queue.levels_outgoing import OutgoingLevels
from relevo.queue.records import encode, metadata_of
from relevo.queue.segments import SegmentWriter
from relevo.queue.spool import Spool, SpooledContent
from relevo.queue.store import (
    Content,
    Leased,
    MemoryContent,
    NewMessage,
    Place,
    Room,
    SpoolWriter,
    StoreFailed,
    Unit,
    UnitResult,
)
from relevo.queue.wishes import wish_row
from relevo.queue.writer import Answer, Writer

_POOL_THREADS = 4  # seals of large files, segments being filled
_JOINED = 1 << 20  # other content up to this is read into memory, above it copied to a file
_MOST_LEASED = 1000  # units of one lease
_COUNT_AGE = 1.0
_COUNT_SHARE = 50  # so many times as long as a count took, its answer is good for


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What the configuration says of the store."""

    inline_size: int = 8 * 1024
    segment_size: int = 64 * 1024 * 1024
    min_free_space: float = 0.05
    history_max_age: timedelta = timedelta(days=14)
    history_max_events: int = 2_000_000


def open_store(
    data_dir: Path,
    *,
    owner: int,
    loop: asyncio.AbstractEventLoop,
    options: StoreOptions | None = None,
    checkpoints: bool = False,
    disk: Disk | None = None,
) -> SqliteStore:
    """Open the queue for a worker; call it after forking, with the worker's number as `owner`.

    Exactly one worker is told to do the `checkpoints`. Blocks for milliseconds. Raises
    apsw.Error or OSError.
    """
    return SqliteStore(
        QueuePaths(data_dir), disk or Disk(), options or StoreOptions(),
        owner=owner, loop=loop, checkpoints=checkpoints,
    )  # fmt: skip


class _Stored(NamedTuple):
    """Where the content of a new message is: one of the three."""

    blob: bytes | None = None  # in its row
    file: str | None = None  # of its own, in the spool
    record: tuple[bytes, bytes] | None = None  # metadata and content, for the segment


class SqliteStore:
    """`Store` (the contract's docstrings hold), and whether it can be written to."""

    def __init__(
        self,
        paths: QueuePaths,
        disk: Disk,
        options: StoreOptions,
        *,
        owner: int,
        loop: asyncio.AbstractEventLoop,
        checkpoints: bool,
    ) -> None:
        self._paths = paths
        self._disk = disk
        self._options = options
        self._owner = owner
        self._loop = loop
        self._numbers = Numbers(owner)
        self._events = Buffer()
        self._counted_at = float("-inf")
        self._circle = Circle()
        self._quarantined = quarantine.Totals()
        self._quarantine_until = float("-inf")
        self._pool = ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="relevo-spool-pool")
        self.health = Health(paths.directory, disk, min_free_space=options.min_free_space)
        self._writer = Writer(
            paths, disk, owner=owner, loop=loop, health=self.health, events=self._events,
            segments=lambda generation: SegmentWriter(
                paths.spool, generation, disk, self._pool, options.segment_size
            ),
            answer=self._answer,
        )  # fmt: skip
        self._spool = Spool(
            paths.spool, self._writer.generation, disk, self._pool, loop, self.health.failed
        )
        self._levels = DomainLevels(self._look, self._call)
        self.outgoing_levels = OutgoingLevels(self._look, self._call)
        self._keeper = None
        if checkpoints:
            bounds = HistoryBounds(
                options.history_max_age.total_seconds(), options.history_max_events
            )
            self._keeper = Keeper(paths, disk, bounds, self._writer.generation)

    @property
    def is_suspended(self) -> bool:
        """Failures, or a disk that hangs: answer 421 until it passes."""
        return self.health.is_suspended

    @property
    def is_short_of_space(self) -> bool:
        """Below the floor of free space: answer MAIL with 452 4.3.1."""
        return self.health.is_short_of_space

    async def add(
        self, message: NewMessage, *, lease: bool, place: Place | None = None
    ) -> tuple[Unit, ...]:
        stored = self._inline(message) or await self._in_spool(message)
        rows = self._rows(message, stored, is_leased=lease, place=place)
        future: asyncio.Future[None] = self._loop.create_future()
        request = Adding(future, rows, lease)
        try:
            self._writer.put(request)
            await future
        except asyncio.CancelledError:
            if lease and future.done() and not future.cancelled() and not future.exception():
                self._give_back(rows)
            raise
        except StoreFailed:
            self._forget_files([rows])
            raise
        if not lease:
            return ()
        identity, created, envelope = message.id, message.created, message.envelope
        content = message.content
        return tuple(
            [
                Unit(identity, unit.route, number, created, 0, envelope, unit.recipients, content)
                for number, unit in enumerate(message.units)
                if rows.units[number][5] == self._owner
            ]
        )

    def spool(self) -> SpoolWriter:
        return self._spool.open_writer()

    async def lease(self, *, now: float, limit: int) -> tuple[Unit, ...]:
        limit = min(limit, _MOST_LEASED)
        due = await self.next_due()
        if due is None or due > now or limit < 1:
            return ()
        future: asyncio.Future[object] = self._loop.create_future()
        call = Calling(future, lambda db: leases.lease(db, self._owner, now, limit))
        self._writer.put(call)
        try:
            rows = await future
        except asyncio.CancelledError:
            self._release_when_done(call)
            raise
        assert isinstance(rows, list)
        return leases.units_of(rows, self._paths.spool)

    async def lease_in(self, room: Room, *, now: float) -> Leased:
        if not await self._look(lambda db: may_take(db, self._owner, now)):
            return Leased(())
        future: asyncio.Future[object] = self._loop.create_future()
        circle = self._circle
        call = Calling(future, lambda db: take_round(db, self._owner, now, room, circle))
        self._writer.put(call)
        try:
            taken = await future
        except asyncio.CancelledError:
            self._release_when_done(call)
            raise
        assert isinstance(taken, Round)
        self._circle = taken.circle
        units = leases.units_of(taken.rows, self._paths.spool)
        return Leased(units, taken.is_more, taken.full, taken.others)

    async def finish(self, result: UnitResult) -> None:
        unit = result.unit
        change = None
        if result.due is not None:
            recipients = encode(result.recipients)
            change = (unit.message_id, unit.number, result.due, recipients)
        dsns = [
            self._rows(dsn, self._inline(dsn) or await self._in_spool(dsn), is_leased=False)
            for dsn in result.dsns
        ]
        future: asyncio.Future[None] = self._loop.create_future()
        key = (unit.message_id, unit.number)
        request = Finishing(future, key, change, self._numbers.rows(result.events), dsns)
        try:
            self._writer.put(request)
            await future
        except StoreFailed:
            self._forget_files(dsns)
            raise
        name = leases.own_file(unit.content)
        if change is None and name is not None:
            self._writer.forget_file(name)

    async def release_all(self) -> None:
        await self._call(lambda db: leases.release_owner(db, self._owner))

    def record(self, event: Event) -> None:
        self._events.append(self._numbers.row(event))

    def is_level_known(self, domain: str, level: SecurityLevel) -> bool:
        """Whether memory has it that `raise_incoming_level` would do nothing, and give `level`."""
        return self._levels.is_known(domain, level)

    async def raise_incoming_level(self, domain: str, level: SecurityLevel) -> SecurityLevel:
        """The best level that mail of a domain (normalized) ever came with, this one included.

        A higher one than before is durable on return. Raises StoreFailed.
        """
        return await self._levels.raise_incoming(domain, level)

    async def next_due(self) -> float | None:
        due = await self._look(leases.next_due)
        assert due is None or isinstance(due, float)
        return due

    async def waiting(self) -> int:
        now = time.monotonic()
        if now - self._counted_at >= _COUNT_AGE:
            self._counted_at = now
            with contextlib.suppress(StoreFailed):  # then as many as there were
                return leases.as_int(await self._look(leases.count))
        return self._writer.messages

    async def quarantined(self) -> quarantine.Totals:
        """How full the quarantine is: now, or as long ago as fifty times what counting costs."""
        if time.monotonic() >= self._quarantine_until:
            with contextlib.suppress(StoreFailed):  # then what there was
                found = await self._look(quarantine.timed_totals)
                assert isinstance(found, quarantine.TimedTotals)
                self._quarantined = found.totals
                self._quarantine_until = time.monotonic() + _COUNT_SHARE * found.seconds
        return self._quarantined

    def count_quarantined(self, octets: int) -> None:
        """One more is about to be added, until the next count sees it."""
        known = self._quarantined
        self._quarantined = replace(
            known, messages=known.messages + 1, octets=known.octets + octets
        )

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
        # In the order of who needs whom: the writer the pool, the pool the spool thread.
        self._writer.stop()
        self._pool.shutdown()
        self._spool.close()

    def _inline(self, message: NewMessage) -> _Stored | None:
        """Small content in its row, as nearly all is; None: it goes to the spool."""
        content = message.content
        if type(content) is MemoryContent and len(content.data) <= self._options.inline_size:
            return _Stored(blob=content.data)
        return None

    async def _in_spool(self, message: NewMessage) -> _Stored:
        """Large content in a file of its own, durable already, or on its way into the segment."""
        content = message.content
        if type(content) is not MemoryContent and not isinstance(content, SpooledContent):
            content = await self._own(content)
        if isinstance(content, SpooledContent):
            return _Stored(file=await self._seal(content, message))
        if len(content.data) <= self._options.inline_size:
            return _Stored(blob=content.data)
        metadata = metadata_of(message)
        if self._writer.has_room_for(metadata, len(content.data)):
            return _Stored(record=(metadata, content.data))
        return _Stored(file=await self._seal(await self._spool.store_whole(content), message))

    def _rows(
        self,
        message: NewMessage,
        stored: _Stored,
        *,
        is_leased: bool,
        place: Place | None = None,
    ) -> NewRows:
        """A message as rows."""
        identity = message.id
        units = [
            (
                identity,
                number,
                unit.route,
                unit.due,
                0,
                self._owner_for(unit.route, place) if is_leased else None,
                encode(unit.recipients),
            )
            for number, unit in enumerate(message.units, message.first_number)
        ]
        row = (
            identity, message.created, message.content.size, encode(message.envelope),
            stored.blob, stored.file, None,
        )  # fmt: skip
        wishes = message.envelope.wishes
        wished = None if wishes is None else wish_row(identity, message.created, wishes)
        return NewRows(row, units, self._numbers.rows(message.events), stored.record, wished)

    def _owner_for(self, route: str, place: Place | None) -> int:
        worker = None if place is None else place(route)
        return self._owner if worker is None else backlog_of(worker)

    async def _own(self, content: Content) -> MemoryContent | SpooledContent:
        """Content of another kind: read into memory, or copied when it is large."""
        if content.size > _JOINED:
            return await self._spool.store_whole(content)
        return MemoryContent(await self._spool.in_pool(lambda: b"".join(content.chunks())))

    async def _seal(self, content: SpooledContent, message: NewMessage) -> str:
        if self.is_suspended:
            raise StoreFailed(f"{self._paths.directory}: suspended after failures")
        if not content.adopt():
            content = await self._spool.store_whole(content)
            content.adopt()
        try:
            await self._spool.seal(content, metadata_of(message))
        except asyncio.CancelledError:
            self._writer.forget_file(content.name)
            raise
        return content.name

    async def _call(self, work: Callable[[apsw.Connection], object]) -> object:
        future: asyncio.Future[object] = self._loop.create_future()
        self._writer.put(Calling(future, work))
        return await future

    async def _look(self, work: Callable[[apsw.Connection], object]) -> object:
        """Read in the writer thread, without taking a turn."""
        future: asyncio.Future[object] = self._loop.create_future()
        self._writer.put(Calling(future, work, is_look=True))
        return await future

    def _answer(self, answers: Sequence[Answer]) -> None:
        """In the loop: resolve the futures of a batch."""
        for request, error in answers:
            future = request.future
            if future.cancelled():
                self._take_back(request, error)
            elif error is not None:
                future.set_exception(error)
            elif isinstance(request, Calling):
                request.future.set_result(request.result)
            else:
                request.future.set_result(None)

    def _take_back(self, request: Request, error: BaseException | None = None) -> None:
        """The caller is gone: what it would have owned is given back."""
        if error is not None:
            if isinstance(request, Adding):
                self._forget_files([request.rows])
        elif isinstance(request, Adding) and request.is_leased:
            self._give_back(request.rows)
        elif isinstance(request, Calling) and isinstance(request.result, list):
            self._release([leases.key_of(row) for row in request.result])
        elif isinstance(request, Calling) and isinstance(request.result, Round):
            self._release([leases.key_of(row) for row in request.result.rows])

    def _release_when_done(self, call: Calling) -> None:
        if call.future.done() and not call.future.cancelled() and not call.future.exception():
            self._take_back(call)

    def _give_back(self, rows: NewRows) -> None:
        self._release([(unit[0], unit[1]) for unit in rows.units])

    def _release(self, keys: list[tuple[str, int]]) -> None:
        future: asyncio.Future[object] = self._loop.create_future()
        try:
            self._writer.put(Calling(future, lambda db: release_units(db, self._owner, keys)))
        except StoreFailed:
            return  # closing; the supervisor releases what is left
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _forget_files(self, added: Sequence[NewRows]) -> None:
        for rows in added:
            if rows.message[5] is not None and rows.record is None:
                self._writer.forget_file(rows.message[5])
