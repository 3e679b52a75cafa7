"""Messages of a file of their own: written while they arrive, or too large for a segment.

One spool thread writes the octets of all arriving messages in the order they came, so the loop
never waits for the disk and the memory in use is what was handed over and not yet written. The
file is sealed (footer, fsync of file and directory) in a pool thread when the message is added.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar
from zlib import crc32

from relevo.queue.content import open_content, read_parts
from relevo.queue.disk import Disk
from relevo.queue.generations import OWN_FILE, Generation, SpoolName
from relevo.queue.records import Footer
from relevo.queue.store import Content, StoreFailed

_log = logging.getLogger(__name__)

_DRAINED = 256 * 1024
_WAIT = 60.0  # seconds a reader waits for octets still on their way to the disk

Job = Callable[[], None]
T = TypeVar("T")


class Spool:
    """The spool directory of one worker: its thread, and the files of this generation."""

    def __init__(
        self,
        directory: Path,
        generation: Generation,
        disk: Disk,
        executor: Executor,
        loop: asyncio.AbstractEventLoop,
        on_failure: Callable[[], None],
    ) -> None:
        self.directory = directory
        self.disk = disk
        self.loop = loop
        self.on_failure = on_failure
        self._generation = generation
        self._executor = executor
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="relevo-spool", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def open_writer(self) -> FileWriter:
        return FileWriter(self, self._generation.new_name(OWN_FILE))

    async def store_whole(self, content: Content) -> SpooledContent:
        """Copy content into a file of its own, in a pool thread. Raises StoreFailed."""

        def copy() -> SpooledContent:
            writer = self.open_writer()
            for chunk in content.chunks():
                writer.write(chunk)
                writer.wait()
            return writer.finish(b"")

        return await self.in_pool(copy)

    async def seal(self, content: SpooledContent, metadata: bytes) -> None:
        """Make the file complete and durable, under its name. Raises StoreFailed."""
        await self.in_pool(lambda: content.seal(metadata))

    def in_pool(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run blocking work in a pool thread. Raises StoreFailed when the store was closed."""
        try:
            return self.loop.run_in_executor(self._executor, work)
        except RuntimeError as error:  # the pool was shut down
            raise StoreFailed("the store is closed") from error

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001 (task border: without the thread nothing arrives)
                self.on_failure()
                _log.exception("spool: a file of %s", self.directory)
            del job  # or an idle thread would keep the last writer alive


class FileWriter:
    """SpoolWriter over a file of its own (the contract's docstrings hold)."""

    def __init__(self, spool: Spool, name: SpoolName) -> None:
        self._spool = spool
        self.name = name
        self.path = spool.directory / str(name)
        self.descriptor: int | None = None
        self.error: OSError | None = None
        self.length = 0  # octets handed over
        self.sum = 0  # of those written
        self._written = 0
        self.is_adopted = False  # a message was made of it
        self._waiter: asyncio.Future[None] | None = None
        self._is_removed = False

    @property
    def pending(self) -> int:
        return self.length - self._written

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise StoreFailed(f"{self.path}: {self.error.strerror}") from self.error
        self.length += len(data)
        self._spool.submit(lambda: self._write(data))

    async def drained(self) -> None:
        while self.pending >= _DRAINED and self.error is None:
            self._waiter = self._spool.loop.create_future()
            if self.pending >= _DRAINED:
                await self._waiter

    def finish(self, head: bytes) -> SpooledContent:
        return SpooledContent(self._spool, self, head)

    def abort(self) -> None:
        """Drop the file, before or after `finish`; no effect once a message was made of it."""
        if not self.is_adopted:
            self._spool.submit(self.remove)

    def __del__(self) -> None:
        """The last resort of a caller that forgot to abort."""
        if not self.is_adopted and self.descriptor is not None:
            descriptor, path, disk = self.descriptor, self.path, self._spool.disk

            def remove() -> None:
                os.close(descriptor)
                disk.unlink(path)

            self._spool.submit(remove)

    def wait(self) -> None:
        """Block until everything handed over is written. Raises StoreFailed."""
        if self.pending and self.error is None:
            done = threading.Event()
            self._spool.submit(done.set)
            if not done.wait(_WAIT):
                raise StoreFailed(f"{self.path}: the disk took over {_WAIT:.0f} s")
        if self.error is not None:
            raise StoreFailed(f"{self.path}: {self.error.strerror}") from self.error

    def open(self) -> int:
        """The descriptor; the file is made with its first use. Raises OSError."""
        if self.descriptor is None:
            self.descriptor = self._spool.disk.create(self.path)
        return self.descriptor

    def remove(self) -> None:
        """Close and unlink. In the spool thread."""
        self._is_removed = True
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
        try:
            self._spool.disk.unlink(self.path)
        except OSError:
            self._spool.on_failure()

    def _write(self, data: bytes) -> None:
        """In the spool thread. After a failure nothing more is written."""
        if self.error is None and not self._is_removed:
            try:
                self._spool.disk.write(self.open(), [data], self._written)
                self.sum = crc32(data, self.sum)
            except OSError as error:
                self.error = error
                self._spool.on_failure()
        self._written += len(data)
        if self._waiter is not None and (self.pending < _DRAINED or self.error is not None):
            self._spool.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SpooledContent:
    """A message that arrived into a file: its head is in memory, its body on disk."""

    __slots__ = ("_head", "_spool", "_writer", "size")

    def __init__(self, spool: Spool, writer: FileWriter, head: bytes) -> None:
        self._spool = spool
        self._writer = writer
        self._head = head
        self.size = len(head) + writer.length

    def adopt(self) -> bool:
        """Take the file for a message; False when it was taken before."""
        is_free = not self._writer.is_adopted
        self._writer.is_adopted = True
        return is_free

    @property
    def name(self) -> str:
        return str(self._writer.name)

    def chunks(self) -> Iterator[bytes]:
        """Waits for octets on their way to the disk. Raises StoreFailed."""
        if self._head:
            yield self._head
        yield from self._body()

    def first(self, octets: int) -> bytes:
        found = self._head[:octets]
        for chunk in self._body():
            if len(found) >= octets:
                break
            found += chunk[: octets - len(found)]
        return found

    def seal(self, metadata: bytes) -> None:
        """Add what is known last, sync file and directory.

        Raises StoreFailed; the file is gone then.
        """
        writer, disk = self._writer, self._spool.disk
        try:
            writer.wait()
            footer = Footer(
                writer.name.number, writer.length, len(self._head), len(metadata),
                writer.sum, crc32(self._head), crc32(metadata),
            )  # fmt: skip
            descriptor = writer.open()
            disk.write(descriptor, [self._head, metadata, footer.pack()], writer.length)
            disk.sync(descriptor)
            os.close(descriptor)
            writer.descriptor = None
            disk.sync_directory(self._spool.directory)
        except StoreFailed:
            self.discard()
            raise
        except OSError as error:
            self._spool.on_failure()
            self.discard()
            raise StoreFailed(f"{writer.path}: {error.strerror}") from error

    def discard(self) -> None:
        """Remove the file: no message will be made of it."""
        self._spool.submit(self._writer.remove)

    def _body(self) -> Iterator[bytes]:
        writer = self._writer
        if not writer.length:
            return
        writer.wait()
        descriptor = open_content(writer.path)
        try:
            yield from read_parts(writer.path, descriptor, ((0, writer.length, writer.sum),))
        finally:
            os.close(descriptor)
