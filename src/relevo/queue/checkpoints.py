"""Checkpoints, pruning, compaction: the upkeep of one queue, in one thread of one worker.

A checkpoint copies the WAL's pages into the database. Inside a commit it would cost the others
tens of milliseconds, so commits never do it. Here a PASSIVE one without the turn does the bulk;
then a short one within the turn finishes what was written meanwhile, so that the next commit finds
the whole WAL copied and starts it from its beginning. Without the second step a busy WAL never
starts again and grows by every octet written.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import apsw

from relevo.queue.clock import Step, StepWatch, move_waiting
from relevo.queue.compaction import compact
from relevo.queue.database import QueuePaths, Transaction, Turn, connect
from relevo.queue.disk import Disk
from relevo.queue.generations import Generation, sweep
from relevo.queue.history import prune
from relevo.queue.levels import forget, oldest_kept

_log = logging.getLogger(__name__)

_PAGES = 1024  # of 4 KiB in the WAL: then it is copied
_BUSY_WAIT = 0.02  # seconds between looks while mail flows
_IDLE_WAIT = 0.1
_PRUNE_EVERY = 5.0
_PRUNE_BATCH = 500  # rows in one turn: about a millisecond
_SWEEP_EVERY = 60.0
_COMPACT_EVERY = 60.0
_FAILED_WAIT = 1.0  # after a failure
_TOLD_EVERY = 60.0  # of failures that go on
_LONG_STEP = 3600.0  # of the clock: then nothing is forgotten by its age
_DISTRUST = 86400.0  # for so long, seconds


@dataclass(frozen=True, slots=True)
class HistoryBounds:
    """How much history is kept."""

    max_age: float  # seconds
    max_events: int


class Keeper:
    """The thread; made by the worker that was told to do the upkeep."""

    def __init__(
        self,
        paths: QueuePaths,
        disk: Disk,
        bounds: HistoryBounds,
        generation: Generation,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paths = paths
        self._disk = disk
        self._bounds = bounds
        self._generation = generation
        self._clock = clock
        self._stop = threading.Event()
        self._turn = Turn(paths)
        self._connection = connect(paths, disk)
        self._seen = 0
        self._prune_at = 0.0
        self._sweep_at = 0.0
        self._forget_at = 0.0
        self._compact_at = 0.0
        self._doubtful: list[str] = []  # files of moves that failed
        self._steps = StepWatch(clock)
        self._step: Step | None = None
        self._distrust_until = 0.0  # the wall clock, for what it says of ages
        self._tell_at = 0.0
        self._thread = threading.Thread(target=self._run, name="relevo-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Blocks."""
        self._stop.set()
        self._thread.join()
        self._connection.close()
        self._turn.close()

    def _run(self) -> None:
        wait = _IDLE_WAIT
        while not self._stop.wait(wait):
            try:
                wait = _BUSY_WAIT if self._checkpoint() else _IDLE_WAIT
                self._watch_clock()
                self._keep_house(time.monotonic())
            except (apsw.Error, OSError) as error:
                # The writers meet a broken disk by themselves; here the next round tries again.
                wait = _FAILED_WAIT
                if time.monotonic() >= self._tell_at:
                    self._tell_at = time.monotonic() + _TOLD_EVERY
                    _log.warning("queue: upkeep of %s failed: %s", self._paths.database, error)
            except Exception:  # noqa: BLE001 (task border: without the thread the WAL only grows)
                _log.exception("upkeep of the queue failed")
                wait = _FAILED_WAIT

    def _keep_house(self, now: float) -> None:
        """What is due of the rest; `now` of the monotonic clock.

        The next time is set before the work, so that what fails is not tried again at once.
        """
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            if self._prune():
                self._prune_at = now
        if now >= self._forget_at:
            self._forget_at = now + _SWEEP_EVERY
            if self._forget_domains():
                self._forget_at = now
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_EVERY
            sweep(self._paths.spool, self._connection, self._disk)
        if now >= self._compact_at:
            self._compact_at = now + _COMPACT_EVERY
            if self._compact():
                self._compact_at = now

    def _watch_clock(self) -> None:
        """Was the wall clock set? Then what waits goes with it."""
        step = self._step or self._steps.look()
        if step is None:
            return
        self._step = step  # until it is done, also when that fails
        with self._turn, Transaction(self._connection):
            moved = move_waiting(self._connection, step)
        self._step = None
        _log.warning(
            "the clock was set %s by %s: %d parts of messages that wait keep their age and their "
            "next try",
            "forward" if step.size > 0 else "back",
            timedelta(seconds=round(abs(step.size))), moved,
        )  # fmt: skip
        if step.size > _LONG_STEP:
            self._distrust_until = time.monotonic() + _DISTRUST
            _log.warning("for a day no history is removed for its age: if the clock is wrong, "
                         "set it right")  # fmt: skip

    @property
    def _is_clock_trusted(self) -> bool:
        return time.monotonic() >= self._distrust_until

    def _checkpoint(self) -> bool:
        """Copy the WAL if it is long; returns whether it grew since the last look."""
        try:
            pages, copied = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        except apsw.BusyError:  # a commit is just being published: look again soon
            return True
        has_grown = pages != self._seen
        self._seen = pages
        if pages >= _PAGES and pages != copied:
            with contextlib.suppress(apsw.BusyError):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            with self._turn:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        return has_grown

    def _prune(self) -> int:
        """One batch of old history; returns how many rows went."""
        oldest = self._clock() - self._bounds.max_age if self._is_clock_trusted else 0.0
        most = self._bounds.max_events
        with self._turn, Transaction(self._connection):
            return prune(self._connection, oldest=oldest, most=most, batch=_PRUNE_BATCH)

    def _compact(self) -> int:
        """One round of giving mostly dead segments back; returns how many messages moved."""
        return compact(
            self._paths, self._connection, self._turn, self._generation, self._disk,
            now=self._clock(), doubtful=self._doubtful,
        )  # fmt: skip

    def _forget_domains(self) -> int:
        """One batch of security levels that are too old or too many; returns how many went."""
        if not self._is_clock_trusted:
            return 0
        oldest = oldest_kept(self._connection, self._clock())
        with self._turn, Transaction(self._connection):
            return forget(self._connection, oldest, _PRUNE_BATCH)
