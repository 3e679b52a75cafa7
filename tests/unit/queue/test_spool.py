"""Messages of a file of their own: bounded memory, back-pressure, aborts."""

from __future__ import annotations

import asyncio
import errno
import gc
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest

from relevo.queue.store import StoreFailed
from unit.queue.faults import FaultyDisk, broken
from unit.queue.samples import NOW, delivered, message, opened, read, run, until

MIB = 1 << 20
BLOCK = bytes(range(256)) * 256  # 64 KiB


def files(directory: Path) -> list[Path]:
    return list((directory / "spool").glob("*.msg"))


class StalledDisk(FaultyDisk):
    """Writes wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        assert self.go.wait(10)
        return super().write(descriptor, buffers, offset)


def test_sixty_megabytes_stream_through_bounded_memory(tmp_path: Path) -> None:
    blocks = 60 * MIB // len(BLOCK)

    async def check() -> None:
        async with opened(tmp_path) as store:
            tracemalloc.start()
            try:
                writer = store.spool()
                for _ in range(blocks):
                    writer.write(bytes(memoryview(BLOCK)))
                    if writer.pending > MIB:
                        await writer.drained()
                (unit,) = await store.add(message(writer.finish(b"H: x\r\n\r\n")), lease=True)
                size = sum(len(chunk) for chunk in unit.content.chunks())
                await store.release_all()
                (again,) = await store.lease(now=NOW, limit=1)
                assert size == sum(len(chunk) for chunk in again.content.chunks())
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert size == 60 * MIB + 8
            assert peak < 4 * MIB

    run(check())


def test_drained_waits_for_a_slow_disk(tmp_path: Path) -> None:
    async def check() -> None:
        disk = StalledDisk()
        async with opened(tmp_path, disk=disk) as store:
            writer = store.spool()
            for _ in range(20):
                writer.write(BLOCK)
            assert writer.pending == 20 * len(BLOCK)
            waiting = asyncio.create_task(writer.drained())
            await asyncio.sleep(0)
            assert not waiting.done()
            disk.go.set()
            await waiting
            assert writer.pending < 256 * 1024
            writer.abort()

    run(check())


def test_aborted_file_is_removed_before_or_after_finish(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            for is_finished in (False, True):
                writer = store.spool()
                writer.write(BLOCK)
                await until(lambda: len(files(tmp_path)) == 1)
                if is_finished:
                    writer.finish(b"head")
                writer.abort()
                await until(lambda: not files(tmp_path))

    run(check())


def test_forgotten_file_is_removed(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            writer = store.spool()
            writer.write(BLOCK)
            await until(lambda: len(files(tmp_path)) == 1)
            content = writer.finish(b"head")
            del writer, content
            gc.collect()
            await until(lambda: not files(tmp_path))

    run(check())


def test_messages_arrive_after_a_file_could_not_be_removed(tmp_path: Path) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        async with opened(tmp_path, disk=disk) as store:
            writer = store.spool()
            writer.write(BLOCK)
            await until(lambda: bool(files(tmp_path)))
            disk.failing = {"unlink": broken(errno.EROFS)}
            del writer  # forgotten: the last resort fails
            gc.collect()
            await until(lambda: disk.calls["unlink"] > 0)
            disk.failing.clear()
            writer = store.spool()
            writer.write(BLOCK)
            await until(lambda: not writer.pending)
            await store.add(message(writer.finish(b"H: x\r\n\r\n")), lease=False)

    run(check())


def test_abort_after_add_keeps_the_message(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            writer = store.spool()
            writer.write(BLOCK)
            await store.add(message(writer.finish(b"")), lease=False)
            writer.abort()
            (unit,) = await store.lease(now=NOW, limit=1)
            assert read(unit.content) == BLOCK

    run(check())


def test_file_goes_with_its_message(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            writer = store.spool()
            writer.write(BLOCK)
            one, two = await store.add(
                message(writer.finish(b"head"), routes=("a", "b")), lease=True
            )
            await store.finish(delivered(one))
            assert len(files(tmp_path)) == 1
            await store.finish(delivered(two))
            await until(lambda: not files(tmp_path))

    run(check())


def test_write_after_a_failure_is_refused_and_the_file_is_gone(tmp_path: Path) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        async with opened(tmp_path, disk=disk) as store:
            writer = store.spool()
            writer.write(BLOCK)
            await until(lambda: writer.pending == 0)
            disk.failing["write"] = broken()
            writer.write(BLOCK)
            await until(lambda: writer.pending == 0)
            with pytest.raises(StoreFailed, match="msg"):
                writer.write(BLOCK)
            disk.failing.clear()
            with pytest.raises(StoreFailed):
                await store.add(message(writer.finish(b"")), lease=False)
            await until(lambda: not files(tmp_path))
            assert store.health.failures == 1

    run(check())


def test_nothing_written_makes_a_message_of_the_head(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            content = store.spool().finish(b"only\r\n")
            await store.add(message(content), lease=False)
            (unit,) = await store.lease(now=NOW, limit=1)
            assert read(unit.content) == b"only\r\n"

    run(check())
