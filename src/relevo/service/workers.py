"""The supervisor's side of the workers: started, replaced with back-off, told, ended.

A worker is in one of four states: absent (until `start_at`), starting (forked, has not said that
it is ready), ready, and hung (told to abort; killed when that does not help). However one ends,
what it has started is ended first, then its leases are given back, then the others are told to
look at the queue.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.queue import DatabaseError, release_owner
from relevo.service import worker
from relevo.service.forking import fork
from relevo.service.heartbeat import HangWatch
from relevo.service.strays import end_strays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from relevo.service.shared_tables import SharedTables
    from relevo.service.wakeups import Wakeups

logger = logging.getLogger("relevo.supervisor")

_MAX_BACK_OFF = 30.0  # seconds before a worker that keeps dying is started again
_HEALTHY = 60.0  # a worker that lived this long starts again at once
_RETRY = 1.0  # seconds, when the system gives us no process
_START_PATIENCE = 600.0  # seconds until a worker must be ready: many users take some to read
_ABORT_PATIENCE = 2.0  # seconds for a hung worker to write where it hangs
_FATAL = (signal.SIGTERM, signal.SIGKILL)


@dataclass(slots=True)
class _Slot:
    """One worker's place."""

    row: int
    pid: int = 0
    started: float = 0.0
    is_ready: bool = False
    is_stale: bool = False  # a reload came before it was ready to hear of it
    ready_fd: int = -1
    failures: int = 0
    restarts: int = 0
    start_at: float = 0.0
    kill_at: float = 0.0  # it hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What workers need of their supervisor."""

    data_dir: Path
    tables: SharedTables
    wakeups: Wakeups
    make_setup: Callable[[int, int], worker.WorkerSetup]
    """Of a row and the descriptor to report on."""
    leave: Callable[[], None]
    """In the child: gives up what is the supervisor's."""
    others: Callable[[], Iterable[int]]
    """Children of the supervisor that are no workers."""
    on_ready: Callable[[], None]
    """All workers serve."""


class Workers:
    """All workers of one server."""

    def __init__(self, count: int, surroundings: Surroundings, hang_timeout: float) -> None:
        self._slots = [_Slot(row) for row in range(count)]
        self._around = surroundings
        self._counters = surroundings.tables.counters
        self._is_stopping = False
        self.hang_watch = HangWatch(surroundings.tables.heartbeats, hang_timeout)

    # -- what the supervisor asks

    @property
    def pids(self) -> list[int]:
        """Of those that run."""
        return [slot.pid for slot in self._slots if slot.pid]

    @property
    def are_ready(self) -> bool:
        """All of them serve."""
        return all(slot.is_ready for slot in self._slots)

    @property
    def is_any_hung(self) -> bool:
        """One hangs, and is still there."""
        return any(slot.kill_at for slot in self._slots)

    def next_due(self, now: float) -> list[float]:
        """Times when `look` has something to do."""
        if self._is_stopping:
            return []
        due = [slot.start_at for slot in self._slots if not slot.pid]
        due += [slot.kill_at for slot in self._slots if slot.kill_at]
        look = self.hang_watch.next_look(now)
        return due if look is None else [*due, look]

    def look(self, now: float) -> None:
        """Start those whose time has come, end those that hang."""
        if self._is_stopping:
            return
        for slot in self._slots:
            if not slot.pid and slot.start_at <= now:
                self._start(slot)
            if slot.kill_at and slot.kill_at <= now:
                _send(slot.pid, signal.SIGKILL)
                slot.kill_at = now + _RETRY
            elif self._never_gets_ready(slot, now):
                self._abort(slot, now, f"not ready for {_START_PATIENCE:g} s")
        served = {slot.row: slot for slot in self._slots if slot.is_ready and not slot.kill_at}
        for row in self.hang_watch.hanging(served, now):
            self._abort(served[row], now, f"no sign of life for {self.hang_watch.timeout:g} s")

    def start_all(self) -> None:
        """The first time."""
        for slot in self._slots:
            self._start(slot)

    def tell(self, number: signal.Signals) -> None:
        """A signal to all that can hear it; those who start now hear of HUP later."""
        for slot in self._slots:
            if slot.pid and (slot.is_ready or number in _FATAL):
                _send(slot.pid, number)
            if number == signal.SIGHUP:
                slot.is_stale = not slot.is_ready

    def stop(self) -> None:
        """Drain and end: none is started again."""
        self._is_stopping = True
        for slot in self._slots:
            self._publish(slot)
        self.tell(signal.SIGTERM)

    def status(self) -> list[dict[str, object]]:
        """For `relevo status`."""
        return [
            {
                "pid": slot.pid,
                "ready": slot.is_ready,
                "restarts": slot.restarts,
                "counters": self._counters.read_row(slot.row),
            }
            for slot in self._slots
        ]

    # -- start

    def _start(self, slot: _Slot) -> None:
        try:
            self._fork(slot)
        except OSError as error:
            slot.start_at = time.monotonic() + _RETRY
            logger.error("cannot start worker %d, trying again soon: %s", slot.row, error)  # noqa: TRY400

    def _fork(self, slot: _Slot) -> None:
        """Start a worker. Raises OSError."""
        ready, report = os.pipe()

        def live() -> int:
            os.close(ready)
            self._around.leave()
            return worker.run(self._around.make_setup(slot.row, report))

        try:
            slot.pid = fork(live, f"worker {slot.row}")
        except OSError:
            os.close(ready)
            raise
        finally:
            os.close(report)
        slot.started, slot.ready_fd = time.monotonic(), ready
        slot.is_ready = slot.is_stale = False
        self.hang_watch.start_anew(slot.row)
        self._publish(slot)
        self._around.wakeups.own(ready, lambda: self._on_report(slot))

    def _on_report(self, slot: _Slot) -> None:
        if slot.ready_fd < 0:
            return  # its death was seen first, in the same round
        slot.is_ready = os.read(slot.ready_fd, 1) == b"r"
        self._publish(slot)
        self._forget_report(slot)
        if slot.is_ready and slot.is_stale:
            self.tell(signal.SIGHUP)
        if self.are_ready:
            self._around.on_ready()

    def _forget_report(self, slot: _Slot) -> None:
        if slot.ready_fd >= 0:
            self._around.wakeups.disown(slot.ready_fd)
            slot.ready_fd = -1

    def _publish(self, slot: _Slot) -> None:
        """What monitoring is to know of the worker."""
        is_ready = slot.is_ready and not self._is_stopping
        for name, value in (("pid", slot.pid), ("is_ready", is_ready), ("restarts", slot.restarts)):
            self._counters.put(slot.row, name, int(value))

    # -- end

    def _abort(self, slot: _Slot, now: float, why: str) -> None:
        """It hangs: it shall say where, and go."""
        logger.critical("worker %d (process %d) hangs: %s; ending it", slot.row, slot.pid, why)
        slot.kill_at = now + _ABORT_PATIENCE
        _send(slot.pid, signal.SIGABRT)

    def _never_gets_ready(self, slot: _Slot, now: float) -> bool:
        if not slot.pid or slot.is_ready or slot.kill_at or not self.hang_watch.timeout:
            return False
        return now - slot.started > _START_PATIENCE

    def on_end(self, pid: int, code: int) -> None:
        """A child has ended and was reaped; perhaps it is one of ours."""
        for slot in self._slots:
            if slot.pid == pid:
                self._on_death(slot, code)

    def _on_death(self, slot: _Slot, code: int) -> None:
        self._forget_report(slot)
        lived = time.monotonic() - slot.started
        pid, slot.pid, slot.is_ready, slot.kill_at = slot.pid, 0, False, 0.0
        self._around.tables.connections.clear(slot.row)
        self._counters.put(slot.row, "is_suspended", 0)
        self._publish(slot)
        if code != 0:  # one that ended in order has ended its commands
            end_strays([*self._around.others(), *self.pids])
        if self._is_stopping:
            if code != 0:
                logger.warning("worker %d (process %d) ended with %d", slot.row, pid, code)
            return
        slot.failures = 0 if lived > _HEALTHY else slot.failures + 1
        slot.restarts += 1
        self._publish(slot)
        delay = min(0.1 * 2 ** (slot.failures - 1), _MAX_BACK_OFF) if slot.failures > 1 else 0.0
        slot.start_at = time.monotonic() + delay
        logger.error(
            "worker %d (process %d) died with %d after %.1f s; starting again in %.1f s",
            slot.row, pid, code, lived, delay,
        )  # fmt: skip
        try:
            release_owner(self._around.data_dir, slot.row)
        except DatabaseError as error:
            logger.error("cannot release what worker %d was delivering: %s", slot.row, error)  # noqa: TRY400
        self.tell(signal.SIGUSR1)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
