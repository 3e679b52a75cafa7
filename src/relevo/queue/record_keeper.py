"""Records on their way into slices (`relevo.queue.slices`): a thread writes, nobody waits for it.

What finds no room in memory is dropped and counted, so that a slow disk delays no mail. So is what
comes when the file system has less room than the queue needs for itself: mail goes first.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from relevo.queue.disk import Disk
from relevo.queue.slices import SliceWriter, remove_slices

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.queue.slices import Bounds

logger = logging.getLogger("relevo.queue")

_GATHERED = 0.2  # seconds in which records come together for one write
_LOOK = 10.0  # seconds between looks for what is too old, at most
_AT_ONCE = 500


class RecordKeeper:
    """Keeps records of one process. `room`: octets that may wait for the disk.

    Nothing is written while less than `least_free` of the file system, a share, is free.
    """

    def __init__(
        self, folder: Path, number: int, bounds: Bounds, *, room: int, least_free: float
    ) -> None:
        self._folder = folder
        self._number = number
        self._bounds = bounds
        self._room = room
        self._least_free = least_free
        self._waiting = 0  # octets
        self._lock = threading.Lock()
        self._records: SimpleQueue[tuple[float, bytes] | None] = SimpleQueue()
        self._disk = Disk()
        self._is_failing = False
        self._is_closing = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="relevo-keeper", daemon=True)
        self._thread.start()

    def put(self, when: float, record: bytes) -> bool:
        """Hand a record over; False: there was no room."""
        with self._lock:
            if self._waiting + len(record) > self._room:
                self.dropped += 1
                return False
            self._waiting += len(record)
        self._records.put((when, record))
        return True

    def close(self) -> None:
        """Write what waits; blocking."""
        self._is_closing.set()
        self._records.put(None)
        self._thread.join()

    def _run(self) -> None:
        writer: SliceWriter | None = None
        look = min(_LOOK, self._bounds.keep_s / 10)
        look_at = 0.0
        is_open = True
        while is_open:
            batch, is_open = self._gather(look)
            try:
                if writer is None:
                    writer = SliceWriter(self._folder, self._number, self._bounds)
                if time.monotonic() >= look_at or len(batch) == _AT_ONCE:
                    look_at = time.monotonic() + look
                    self._prune(writer)
                if batch:
                    self._check_disk()
                    writer.append(batch)
                self._is_failing = False
            except OSError as error:
                self._on_failure(error, len(batch))
            with self._lock:
                self._waiting -= sum(len(record) for _, record in batch)
        if writer is not None:
            writer.close()

    def _gather(self, patience: float) -> tuple[list[tuple[float, bytes]], bool]:
        """What waits, after a moment for more; whether more may come."""
        batch: list[tuple[float, bytes]] = []
        try:
            record = self._records.get(timeout=patience)
            self._is_closing.wait(_GATHERED)
            while record is not None:
                batch.append(record)
                if len(batch) == _AT_ONCE:
                    return batch, True
                record = self._records.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _check_disk(self) -> None:
        """Raises OSError when what is left of it is for mail."""
        if self._disk.free_share(self._folder) < self._least_free:
            raise OSError(errno.ENOSPC, "the room that is left on the disk is for mail")

    def _prune(self, writer: SliceWriter) -> None:
        now = time.time()
        writer.prune(now)
        if self._number == 0:  # what processes have left that are no more
            remove_slices(self._folder, older_than=now - self._bounds.keep_s)

    def _on_failure(self, error: OSError, records: int) -> None:
        """Said once until it works again."""
        with self._lock:
            self.dropped += records
        if not self._is_failing:
            logger.error("nothing can be kept in %s: %s", self._folder, error)
        self._is_failing = True
