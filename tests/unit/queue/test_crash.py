"""kill -9 at any moment: what was answered is there, once and whole."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relevo.queue.database import create_database, release_owner, start_over
from relevo.queue.ids import new_id
from relevo.queue.sqlite import open_store
from relevo.queue.store import MessageId
from unit.queue.samples import (
    NOW,
    SMALL,
    delivered,
    message,
    opened,
    random_octets,
    read,
    run,
    until,
)

SIZES = (20, 1000, 5000, 40_000)


def child(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork a process that runs `work` with the writing end of a pipe; (pid, reading end)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            work(writing)
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


def content_of(identity: str) -> bytes:
    """Size and octets follow from the id."""
    seed = int.from_bytes(identity.encode(), "big")
    return random_octets(random.Random(seed).choice(SIZES), seed)


def live(directory: Path, ledger: int, *, owner: int, lives: int) -> None:
    """A worker: add, tell, deliver half of them, tell."""

    async def main() -> None:
        store = open_store(
            directory,
            owner=owner,
            loop=asyncio.get_running_loop(),
            options=SMALL,
            checkpoints=owner == 0,
        )

        async def session(number: int) -> None:
            for turn in range(lives):
                identity = new_id()
                new = message(content_of(identity), identity=identity)
                (unit,) = await store.add(new, lease=True)
                os.write(ledger, b"+%s\n" % identity.encode())
                if (turn + number) % 2:
                    os.write(ledger, b"?%s\n" % identity.encode())
                    await store.finish(delivered(unit))
                    os.write(ledger, b"-%s\n" % identity.encode())

        await asyncio.gather(*(session(number) for number in range(20)))
        await store.close()

    asyncio.run(main())


@dataclass(frozen=True)
class Ledger:
    """What killed processes told: ids added, about to be finished, finished."""

    added: set[str]
    tried: set[str]
    finished: set[str]

    @classmethod
    def read(cls, *descriptors: int) -> Ledger:
        lines: list[str] = []
        for descriptor in descriptors:
            with os.fdopen(descriptor, "rb") as pipe:
                lines += pipe.read().decode().split("\n")[:-1]
        told = {mark: {line[1:] for line in lines if line[0] == mark} for mark in "+?-"}
        return cls(told["+"], told["?"], told["-"])


def check_survivors(directory: Path, ledger: Ledger) -> int:
    """All that was answered and not finished is there; nothing finished came back."""

    async def check() -> int:
        async with opened(directory, owner=7) as store:
            units = await store.lease(now=NOW, limit=1000)
            found = {str(unit.message_id) for unit in units}
            assert len(found) == len(units)
            assert not found & ledger.finished
            assert ledger.added - ledger.tried <= found
            for unit in units:
                assert read(unit.content) == content_of(unit.message_id)
            assert await store.waiting() == len(found)
            await store.release_all()
            return len(found)

    return run(check())


@pytest.mark.parametrize("delay_ms", [5, 20, 45, 80, 130, 190, 260])
def test_killed_worker_loses_nothing_it_answered(tmp_path: Path, delay_ms: int) -> None:
    create_database(tmp_path)
    pid, reading = child(lambda ledger: live(tmp_path, ledger, owner=1, lives=40))
    time.sleep(delay_ms / 1000)  # the moment of the kill is the input of this test
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    release_owner(tmp_path, 1)
    check_survivors(tmp_path, Ledger.read(reading))


def test_two_workers_write_at_once_and_one_is_killed(tmp_path: Path) -> None:
    create_database(tmp_path)
    one, ledger_one = child(lambda ledger: live(tmp_path, ledger, owner=0, lives=15))
    two, ledger_two = child(lambda ledger: live(tmp_path, ledger, owner=1, lives=1000))
    os.waitpid(one, 0)
    os.kill(two, signal.SIGKILL)
    os.waitpid(two, 0)
    start_over(tmp_path, NOW)
    ledger = Ledger.read(ledger_one, ledger_two)
    assert len(ledger.added) > 300
    assert check_survivors(tmp_path, ledger) >= 150


def test_files_of_a_dead_worker_are_cleaned_up_by_the_next(tmp_path: Path) -> None:
    create_database(tmp_path)
    pid, reading = child(lambda ledger: live(tmp_path, ledger, owner=1, lives=1000))
    with os.fdopen(reading, "rb") as pipe:
        for _ in range(200):
            pipe.readline()
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    release_owner(tmp_path, 1)

    async def check() -> None:
        async with opened(tmp_path, owner=1, checkpoints=True) as store:
            while units := await store.lease(now=NOW, limit=100):
                for unit in units:
                    assert read(unit.content) == content_of(MessageId(unit.message_id))
                await asyncio.gather(*(store.finish(delivered(unit)) for unit in units))
        async with opened(tmp_path, owner=1, checkpoints=True):
            await until(lambda: len(list((tmp_path / "spool").iterdir())) == 1)
            (left,) = (tmp_path / "spool").iterdir()
            assert left.suffix == ".lock"

    run(check())
