"""Messages from elsewhere, put into the queue by the command line and at start: no loop needed.

For imports, repairs and what another server left. Works beside running workers: a `Loader` has a
generation of its own, as a worker has, and takes turns with them. What is loaded is durable when
`load` returns. An id is loaded once: a message that waits already is left as it is, and one that
the history knows does not come back unless that is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from relevo.journal.events import Event
from relevo.queue.database import DatabaseError, QueuePaths, Transaction, Turn, connect
from relevo.queue.disk import Disk
from relevo.queue.generations import OWN_FILE, Generation
from relevo.queue.history import Numbers
from relevo.queue.own_files import write_own_file
from relevo.queue.records import encode, metadata_of
from relevo.queue.sqlite import StoreOptions
from relevo.queue.store import Content, Envelope, MessageId, NewMessage, NewUnit, QueuedRecipient
from relevo.queue.wishes import SET_WISHES, wish_row

_WRITER = 62  # in the numbers of event rows; workers count from 0
_BATCH = 100  # messages a transaction
_BATCH_OCTETS = 16 * 1024 * 1024

_IS_QUEUED = "SELECT 1 FROM message WHERE id = ?"
_IS_TOLD_OF = "SELECT 1 FROM event WHERE message = ? LIMIT 1"
_INSERT_MESSAGE = (
    "INSERT INTO message (id, created, size, envelope, content, file, start)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_UNIT = (
    "INSERT INTO unit (message, number, route, due, attempts, owner, recipients)"
    " VALUES (?, ?, ?, ?, ?, NULL, ?)"
)
_INSERT_EVENT = "INSERT OR IGNORE INTO event (message, n, time, kind, data) VALUES (?, ?, ?, ?, ?)"
_COUNT = "UPDATE counter SET messages = messages + ?, events = events + ?"


@dataclass(frozen=True, slots=True)
class SavedUnit:
    """A unit as it stood: when its next try is, and how many there were."""

    route: str
    due: float
    attempts: int
    recipients: tuple[QueuedRecipient, ...]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """Content that stands in the spool already: its file, and where in a segment."""

    file: str
    start: int | None


@dataclass(frozen=True, slots=True)
class SavedMessage:
    """A message as it stood in a queue. `content` as a record is not copied but pointed at."""

    id: MessageId
    created: float
    size: int
    envelope: Envelope
    units: tuple[SavedUnit, ...]
    content: Content | StoredRecord
    events: tuple[Event, ...] = ()


class Loaded(Enum):
    """What became of a message."""

    ADDED = "added"
    QUEUED_ALREADY = "in the queue already"
    KNOWN = "known to the history"


class Loader:
    """A context manager that closes; for one thread. Raises apsw.Error, OSError."""

    def __init__(
        self, data_dir: Path, *, inline_size: int | None = None, disk: Disk | None = None
    ) -> None:
        self._paths = QueuePaths(data_dir)
        if not self._paths.database.exists():
            raise DatabaseError(f"there is no queue in {data_dir}")
        self._disk = disk or Disk()
        self._inline_size = StoreOptions().inline_size if inline_size is None else inline_size
        self._numbers = Numbers(_WRITER)
        self._connection = connect(self._paths, self._disk)
        self._turn = Turn(self._paths)
        with self._turn, Transaction(self._connection):
            self._generation = Generation(self._paths.spool, self._connection)
        lock = self._paths.spool / f"{self._generation.number}.lock"
        give_to_owner(lock, self._paths.spool)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        self._turn.close()
        self._generation.close()

    def state_of(self, identity: str) -> Loaded:
        """What `load` would say; ADDED: it is new."""
        if self._connection.execute(_IS_QUEUED, (identity,)).fetchone():
            return Loaded.QUEUED_ALREADY
        if self._connection.execute(_IS_TOLD_OF, (identity,)).fetchone():
            return Loaded.KNOWN
        return Loaded.ADDED

    def load(
        self, messages: Iterable[SavedMessage], *, again: bool = False
    ) -> dict[MessageId, Loaded]:
        """Add messages, a hundred a transaction; what became of each.

        `again`: also those of which only the history knows. After an exception the transactions
        before it stand; loading all once more adds the rest. Raises apsw.Error, OSError,
        StoreFailed (content that cannot be read).
        """
        found: dict[MessageId, Loaded] = {}
        for batch in _batches(messages):
            found |= self._load(batch, again=again)
        return found

    def _load(self, batch: Sequence[SavedMessage], *, again: bool) -> dict[MessageId, Loaded]:
        wanted = (Loaded.ADDED, Loaded.KNOWN) if again else (Loaded.ADDED,)
        written: list[tuple[SavedMessage, tuple[object, ...], Path | None]] = []
        found: dict[MessageId, Loaded] = {}
        for message in batch:
            found[message.id] = self.state_of(message.id)
            if found[message.id] in wanted:
                written.append((message, *self._row(message)))
        if any(path for _, _, path in written):
            self._disk.sync_directory(self._paths.spool)
        needless = []
        # When this fails, files stay: the commit may have come through. Sweeps look at the rows.
        with self._turn, Transaction(self._connection):
            for message, row, path in written:
                found[message.id] = self.state_of(message.id)
                if found[message.id] in wanted:
                    self._insert(message, row)
                    found[message.id] = Loaded.ADDED
                elif path is not None:
                    needless.append(path)
        for path in needless:
            self._disk.unlink(path)
        return found

    def _row(self, message: SavedMessage) -> tuple[tuple[object, ...], Path | None]:
        """The message's row, and the file that was written for it."""
        blob, file, start, path = None, None, None, None
        content = message.content
        if isinstance(content, StoredRecord):
            file, start = content.file, content.start
        elif content.size <= self._inline_size:
            blob = b"".join(content.chunks())
        else:
            path = self._write(message, content)
            file = path.name
        row = (
            message.id, message.created, message.size, encode(message.envelope), blob, file, start,
        )  # fmt: skip
        return row, path

    def _write(self, message: SavedMessage, content: Content) -> Path:
        name = self._generation.new_name(OWN_FILE)
        path = self._paths.spool / str(name)
        units = tuple(NewUnit(unit.route, unit.recipients, unit.due) for unit in message.units)
        new = NewMessage(message.id, message.created, message.envelope, content, units)
        write_own_file(path, name.number, content.chunks(), metadata_of(new), self._disk)
        give_to_owner(path, self._paths.spool)
        return path

    def _insert(self, message: SavedMessage, row: tuple[object, ...]) -> None:
        self._connection.execute(_INSERT_MESSAGE, row)
        self._connection.executemany(
            _INSERT_UNIT,
            [
                (message.id, number, unit.route, unit.due, unit.attempts, encode(unit.recipients))
                for number, unit in enumerate(message.units)
            ],
        )
        if message.envelope.wishes is not None:
            wishes = wish_row(message.id, message.created, message.envelope.wishes)
            self._connection.execute(SET_WISHES, wishes)
        events = self._numbers.rows(message.events)
        self._connection.executemany(_INSERT_EVENT, events)
        self._connection.execute(_COUNT, (1, len(events)))


def give_to_owner(path: Path, directory: Path) -> None:
    """What root has made must be usable by the user of the server, who owns the directory."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _batches(messages: Iterable[SavedMessage]) -> Iterator[Sequence[SavedMessage]]:
    """Pieces that are bounded in number, and in what they may hold in memory."""
    batch: list[SavedMessage] = []
    octets = 0
    for message in messages:
        batch.append(message)
        octets += message.size
        if len(batch) >= _BATCH or octets >= _BATCH_OCTETS:
            yield batch
            batch, octets = [], 0
    yield batch
