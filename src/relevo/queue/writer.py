"""The writer thread of a worker: group commit.

Callers put requests into a queue and await their futures. The thread takes everything that waits,
then its turn, adds what came while it waited for that, syncs large content, commits one transaction
and answers all futures with one call into the loop. So the more callers wait, the less each costs.
What a disk can do is so many syncs a second, at once or one after another, so content is synced
within the turn, for as many messages as possible.

Failure: the whole batch fails with `StoreFailed`. The segment is abandoned, the connection closed;
before the next batch the database is opened and checked anew, and a first small commit overwrites
in the WAL what a failed one may have left there. A second connection (`_anchor`) stays open all
the while: were the last one closed, SQLite would recover the WAL and might bring the failed
commit back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import apsw

from relevo.queue.commit import Adding, Batch, Calling, Finishing, Request
from relevo.queue.database import (
    DatabaseError,
    QueuePaths,
    Transaction,
    Turn,
    connect,
    look_over,
)
from relevo.queue.disk import Disk
from relevo.queue.generations import OWN_FILE, Generation, is_live
from relevo.queue.health import Health
from relevo.queue.history import Buffer, EventRow
from relevo.queue.segments import SegmentWriter
from relevo.queue.store import StoreFailed

_log = logging.getLogger(__name__)

_TICK = 1.0  # seconds between upkeep: recorded events, counts, probes
_COLLECT_EVERY = 5  # ticks between looks for dead segments
_TELL_EVERY = 60  # ticks between lines about probes that fail
_MOST_REQUESTS = 512  # of a batch: bounds the time the lock is held
_TOUCH = "UPDATE counter SET messages = messages RETURNING messages"

Answer = tuple[Request, BaseException | None]


class StoreClosed(StoreFailed):
    """The store was closed before the request was written."""


class RequestRefused(StoreFailed):
    """The request breaks a rule of the schema: an id that is taken."""


class Writer:
    """The thread, its queue and everything only it may touch."""

    def __init__(
        self,
        paths: QueuePaths,
        disk: Disk,
        *,
        owner: int,
        loop: asyncio.AbstractEventLoop,
        health: Health,
        events: Buffer,
        segments: Callable[[Generation], SegmentWriter],
        answer: Callable[[Sequence[Answer]], None],
    ) -> None:
        """Raises apsw.Error or OSError. Leases of an earlier process with this owner are freed."""
        self._paths = paths
        self._disk = disk
        self._owner = owner
        self._loop = loop
        self._health = health
        self._events = events
        self._answer = answer
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._aside: deque[Request | None] = deque()  # taken from there, and not served yet
        self._is_closed = False
        self._ticks = 0
        self._tell_at = 0  # tick from which a probe that fails is told of
        self._next_tick = 0.0
        self._doubtful: list[str] = []
        self._anchor = connect(paths, disk)
        self._connection: apsw.Connection | None = connect(paths, disk)
        self._turn = Turn(paths)
        with self._turn, Transaction(self._connection):
            self.generation = Generation(paths.spool, self._connection)
            self._connection.execute("UPDATE unit SET owner = NULL WHERE owner = ?", (owner,))
        self._segments = segments(self.generation)
        self.messages = 0
        self._count(self._connection)
        self._thread = threading.Thread(target=self._run, name="relevo-queue", daemon=True)
        self._thread.start()

    def put(self, request: Request) -> None:
        """Hand over a request; its future is answered. Raises StoreClosed."""
        if self._is_closed:
            raise StoreClosed("the store is closed")
        self._requests.put(request)

    def forget_file(self, name: str) -> None:
        """A file of its own that may have no message any more: removed if that is so."""
        self._doubtful.append(name)

    def has_room_for(self, metadata: bytes, content_length: int) -> bool:
        return self._segments.has_room_for(metadata, content_length)

    def stop(self) -> None:
        """Write what waits, end the thread, close everything. Blocks."""
        if not self._is_closed:
            self._is_closed = True
            self._requests.put(None)
            self._thread.join()

    # In the thread from here on.

    def _run(self) -> None:
        is_running = True
        while is_running:
            batch = []
            try:
                request = self._first()
                while request is not None:
                    batch.append(request)
                    if len(batch) == _MOST_REQUESTS:
                        break
                    request = self._next()
                else:
                    is_running = False
            except Empty:
                pass
            self._health.began()
            if batch:
                self._serve(batch)
            if time.monotonic() >= self._next_tick:
                try:
                    self._tick()
                except Exception:  # noqa: BLE001 (task border: must not end the thread)
                    _log.exception("upkeep of the queue failed")
            self._health.ended()
        self._serve([])
        self._close()

    def _first(self) -> Request | None:
        """Wait for a request until the next tick. Raises Empty."""
        if self._aside:
            return self._aside.popleft()
        return self._requests.get(timeout=max(0.0, self._next_tick - time.monotonic()))

    def _next(self) -> Request | None:
        """One that waits already. Raises Empty."""
        return self._aside.popleft() if self._aside else self._requests.get_nowait()

    def _serve(self, requests: list[Request]) -> None:
        """Looks first, then one transaction, then the answers."""
        answers: list[Answer] = []
        writes = []
        for request in requests:
            if isinstance(request, Calling) and request.is_look:
                answers.append((request, self._look(request)))
            else:
                writes.append(request)
        if writes or len(self._events):
            error = self._commit(writes, may_grow=True)
            if error is None or self._connection is None or len(writes) < 2:
                answers += [(request, error) for request in writes]
            else:
                # The disk is well, one of the requests is wrong: the others must not suffer.
                answers += [(request, self._commit([request])) for request in writes]
        if answers:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits
                self._loop.call_soon_threadsafe(self._answer, answers)

    def _look(self, request: Calling) -> BaseException | None:
        try:
            request.result = request.work(self._usable())
        except Exception as error:  # noqa: BLE001 (task border: told to the caller)
            return self._judge(error)
        return None

    def _commit(self, requests: list[Request], *, may_grow: bool = False) -> BaseException | None:
        """One transaction of all requests; None or why it failed.

        With `may_grow`, also of those that came while the turn was waited for: they are added.
        """
        batch = Batch(self._owner)
        recorded: list[EventRow] = []
        try:
            connection = self._usable()
            for request in requests:
                batch.gather(request, self._segments.append)
            recorded = self._events.take()
            batch.add_events(recorded)
            with self._turn:
                if may_grow:
                    self._join(batch, requests)
                self._segments.sync()
                with Transaction(connection):
                    messages = batch.execute(connection)
            self.messages = messages
            if self._segments.has_rolled:  # soon the next one is needed: see what is dead
                self._collect(connection)
        except Exception as error:  # noqa: BLE001 (task border: told to the callers)
            self._events.give_back(recorded)
            return self._judge(error)
        return None

    def _join(self, batch: Batch, requests: list[Request]) -> None:
        """Take into a batch that has its turn what came meanwhile.

        The turn of another worker takes as long as a sync, and all that came in it would else wait
        for one more of each. Left for later: looks, and what would wait for another segment.
        """
        try:
            while len(requests) < _MOST_REQUESTS:
                request = self._requests.get_nowait()
                if request is None or not self._may_join(request):
                    self._aside.append(request)
                    if request is None:
                        return
                else:
                    requests.append(request)
                    batch.gather(request, self._segments.append)
        except Empty:
            pass

    def _may_join(self, request: Request) -> bool:
        match request:
            case Adding():
                record = request.rows.record
                return record is None or self._segments.takes_now(*record)
            case Finishing():
                return all(rows.record is None for rows in request.dsns)
            case Calling():
                return not request.is_look

    def _judge(self, error: Exception) -> Exception:
        """What the caller gets: the world failed, or the request is wrong in itself."""
        match error:
            case StoreFailed():
                return error
            case apsw.ConstraintError():
                return RequestRefused(f"the queue refuses it: {error}")
            case apsw.Error() | OSError():
                return self._failed(error)
            case _:
                _log.error("a request to the queue could not be carried out", exc_info=error)
                return error

    def _failed(self, error: Exception) -> StoreFailed:
        """The world failed: nothing that was in use is trusted any more."""
        self._health.failed()
        self._segments.abandon()
        self._disconnect()
        advice = ""
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):  # also of a disk that fails
            advice = "; if the disk is well, stop the server and see `relevo queue repair --help`"
        _log.error("queue: %s in %s: batch refused%s", error, self._paths.directory, advice)
        failure = StoreFailed(f"{self._paths.directory}: {error}")
        failure.__cause__ = error
        return failure

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(apsw.Error):
                self._connection.close(True)
            self._connection = None

    def _usable(self) -> apsw.Connection:
        """The connection, opened and checked anew after a failure. Raises StoreFailed."""
        if self._health.has_failed:
            raise StoreFailed(f"{self._paths.directory}: suspended after failures")
        if self._connection is None:
            try:
                self._connection = self._reopen()
            except (apsw.Error, OSError, DatabaseError) as error:
                raise self._failed(error) from error
        return self._connection

    def _reopen(self) -> apsw.Connection:
        connection = connect(self._paths, self._disk)
        try:
            look_over(connection, self._paths)
            with self._turn, Transaction(connection):
                self._count(connection)
        except BaseException:
            connection.close(True)
            raise
        return connection

    def _count(self, connection: apsw.Connection) -> None:
        row = connection.execute(_TOUCH).fetchone()
        assert row is not None
        self.messages = int(row[0])

    def _tick(self) -> None:
        """Upkeep, once a second."""
        self._next_tick = time.monotonic() + _TICK
        self._ticks += 1
        if self._health.has_failed and not self._probe():
            return
        if len(self._events):
            self._serve([])
        try:
            connection = self._usable()
            row = connection.execute("SELECT messages FROM counter").fetchone()
            if row is not None:
                self.messages = int(row[0])
            self._remove_doubtful(connection)
            if self._ticks % _COLLECT_EVERY == 0:
                self._collect(connection)
        except StoreFailed:
            pass
        except (apsw.Error, OSError) as error:
            self._failed(error)

    def _collect(self, connection: apsw.Connection) -> None:
        """Put dead segments to another use. A failure is the next batch's, not this one's."""
        try:
            self._segments.collect(lambda name: is_live(connection, name))
        except (apsw.Error, OSError) as error:
            _log.warning("queue: dead segments of %s: %s", self._paths.spool, error)

    def _remove_doubtful(self, connection: apsw.Connection) -> None:
        """Remove files of messages that ended, or whose commit failed."""
        while self._doubtful:
            name = self._doubtful[-1]
            if not is_live(connection, name):
                self._disk.unlink(self._paths.spool / name)
            self._doubtful.pop()

    def _probe(self) -> bool:
        """Try a new file and a commit; on success the store is in use again."""
        path = self._paths.spool / str(self.generation.new_name(OWN_FILE))
        try:
            descriptor = self._disk.create(path)
            try:
                self._disk.write(descriptor, [bytes(64 * 1024)], 0)
                self._disk.sync(descriptor)
            finally:
                os.close(descriptor)
                self._disk.unlink(path)
            self._disk.sync_directory(self._paths.spool)
            if self._connection is None:
                self._connection = self._reopen()
        except (apsw.Error, OSError, DatabaseError) as error:
            if self._ticks >= self._tell_at:
                self._tell_at = self._ticks + _TELL_EVERY
                _log.warning("queue: still failing: %s", error)
            return False
        self._health.recovered()
        self._tell_at = 0
        _log.warning("queue: %s can be written again", self._paths.directory)
        return True

    def _close(self) -> None:
        left: list[Answer] = []
        with contextlib.suppress(Empty):
            while True:
                request = self._next()
                if request is not None:
                    left.append((request, StoreClosed("the store is closed")))
        if left:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._answer, left)
        self._segments.close()
        self._disconnect()
        self._anchor.close()
        self.generation.close()
        self._turn.close()
