"""Messages to queue, and a queue that a test opens and closes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import apsw

from relevo.journal.events import Accepted, Attempted, Done, Event, Outcome
from relevo.queue.database import QueuePaths, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.ids import new_id
from relevo.queue.sqlite import SqliteStore, StoreOptions, open_store
from relevo.queue.store import (
    Content,
    Envelope,
    MemoryContent,
    MessageId,
    NewMessage,
    NewUnit,
    QueuedRecipient,
    RecipientState,
    TargetKind,
    Unit,
    UnitResult,
)

T = TypeVar("T")
NOW = 1_800_000_000.0
SMALL = StoreOptions(inline_size=100, segment_size=16 * 1024, min_free_space=0.0)


def run(coroutine: Awaitable[T], timeout_s: float = 60) -> T:
    """Run on a fresh loop; fails when it takes too long."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    return asyncio.run(bounded())


def recipient(target: str = "bob@example.net", **values: str) -> QueuedRecipient:
    return replace(QueuedRecipient(TargetKind.MAIL, target, target), **values)  # type: ignore[arg-type]  # fields by name


def message(
    data: bytes | Content = b"Subject: x\r\n\r\nHello\r\n",
    *,
    identity: str | None = None,
    routes: tuple[str, ...] = ("mx:example.net",),
    due: float = NOW,
    reverse_path: str = "alice@example.org",
    events: tuple[Event, ...] = (),
) -> NewMessage:
    """A message with one unit a route, each with two recipients."""
    return NewMessage(
        id=MessageId(identity) if identity is not None else new_id(),
        created=NOW,
        envelope=Envelope(reverse_path, body="8BITMIME", envid="e+1"),
        content=MemoryContent(data) if isinstance(data, bytes) else data,
        units=tuple(
            NewUnit(
                route,
                (recipient(f"bob@{route}.test"), recipient(f"eve@{route}.test", orcpt="rfc822;e")),
                due,
            )
            for route in routes
        ),
        events=events,
    )


def accepted(identity: str, *, at: float = NOW, reverse_path: str = "alice@example.org") -> Event:
    return Accepted(at, identity, "192.0.2.1:4321", reverse_path, ("bob@example.net",), 20)


def attempted(identity: str, *, at: float = NOW, target: str = "bob@example.net") -> Event:
    return Attempted(
        at, identity, "alice@example.org", target, target, Outcome.DELIVERED, "mx:example.net"
    )


def done(identity: str, *, at: float = NOW) -> Event:
    return Done(at, identity, "alice@example.org")


def delivered(unit: Unit, *, dsns: tuple[NewMessage, ...] = ()) -> UnitResult:
    """The unit goes."""
    recipients = tuple(
        replace(recipient, state=RecipientState.DELIVERED, detail="250 ok", status="2.0.0")
        for recipient in unit.recipients
    )
    return UnitResult(unit, recipients, None, (attempted(unit.message_id),), dsns)


def deferred(unit: Unit, due: float) -> UnitResult:
    """The first recipient is delivered, the rest waits until `due`."""
    first, *rest = unit.recipients
    recipients = (replace(first, state=RecipientState.DELIVERED), *rest)
    return UnitResult(unit, recipients, due, (attempted(unit.message_id),))


def read(content: Content) -> bytes:
    return b"".join(content.chunks())


def random_octets(size: int, seed: int = 1) -> bytes:
    """Octets that compress to nothing and differ from place to place."""
    return random.Random(seed).randbytes(size)


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    owner: int = 0,
    options: StoreOptions = SMALL,
    checkpoints: bool = False,
    disk: Disk | None = None,
) -> AsyncIterator[SqliteStore]:
    """A store on a database that is made if it is not there."""
    create_database(directory)
    store = open_store(
        directory,
        owner=owner,
        loop=asyncio.get_running_loop(),
        options=options,
        checkpoints=checkpoints,
        disk=disk,
    )
    try:
        yield store
    finally:
        await store.close()


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Wait for what a thread of the store does by itself."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@dataclass
class Source:
    """Content of a foreign kind, that counts how it is read."""

    data: bytes
    reads: int = field(default=0)

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        self.reads += 1
        for start in range(0, len(self.data), 256 * 1024):
            yield self.data[start : start + 256 * 1024]

    def first(self, octets: int) -> bytes:
        return self.data[:octets]


def spoil(queue: Path, table: str) -> None:
    """The first page of a table becomes unreadable while the database is open."""
    with closing(connect(QueuePaths(queue), Disk())) as database:
        database.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = database.execute(sql, (table,)).fetchall()
        assert isinstance(page, int)
        with (queue / "queue.db").open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
