"""The queue as the operator sees it: lists, one message, traces, and changes by hand.

Works beside running workers and without them. Reads go page by page, so that no long read keeps
the WAL from starting again. Changes take the same turn as the workers' commits and leave an
`OperatorAction` in the history.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw

from relevo.journal.events import Event, OperatorAction
from relevo.queue import quarantine
from relevo.queue.database import DatabaseError, QueuePaths, Transaction, Turn, connect, damage
from relevo.queue.disk import Disk
from relevo.queue.generations import OWN_FILE, SpoolName
from relevo.queue.history import Numbers, events_of, latest, messages_mentioning
from relevo.queue.leases import content_of
from relevo.queue.records import decode_envelope, decode_recipients
from relevo.queue.schedule import HELD_UNTIL
from relevo.queue.store import Content, MessageId, Summary
from relevo.queue.wishes import end_hold

_WRITER = 63  # in the numbers of event rows; workers count from 0
_PAGE = 500
_MOST_EVENTS = 10_000  # of one message
_LOOK_BACK = 1000  # rows among which the latest events are looked for

_MESSAGES = "SELECT id, created, size, envelope FROM message WHERE id > ? ORDER BY id LIMIT ?"
_MESSAGE = "SELECT id, created, size, envelope FROM message WHERE id = ?"
_UNITS = (
    "SELECT route, due, attempts, owner, recipients FROM unit WHERE message = ? ORDER BY number"
)
_CONTENT = "SELECT content, file, start, size FROM message WHERE id = ?"
_COUNTS = (
    "SELECT messages, events, (SELECT count(*) FROM unit),"
    " (SELECT count(*) FROM unit WHERE owner IS NOT NULL AND owner >= 0),"
    " (SELECT min(due) FROM unit WHERE owner IS NULL) FROM counter"
)
# of bare columns SQLite takes those of the row with the minimum
_WAITING = (
    "SELECT route, count(*), min(due), message, number FROM unit"
    " WHERE owner IS NULL AND NOT (route = :quarantine AND due >= :held) GROUP BY route"
)
_BACKLOGS = (
    "SELECT route, count(*), 0.0, min(message), number FROM unit WHERE owner < 0"
    " GROUP BY owner, route"
)
_LEASED = (
    "SELECT route, count(*), 0.0, min(message), number FROM unit"
    " WHERE owner IS NOT NULL AND owner >= 0 GROUP BY route"
)
_RECIPIENTS = "SELECT recipients FROM unit WHERE message = ? AND number = ?"
_OLDEST = (
    "SELECT created FROM message WHERE NOT EXISTS (SELECT 1 FROM unit"
    " WHERE message = id AND route = :quarantine AND due >= :held) ORDER BY id LIMIT 1"
)
_RETRY = "UPDATE unit SET due = ?, owner = NULL WHERE message = ? AND (owner IS NULL OR owner < 0)"
_RETRY_UNHELD = f"{_RETRY} AND due < {HELD_UNTIL} AND (hold IS NULL OR attempts > 0)"
_HOLD = (
    "UPDATE unit SET due = ?, owner = NULL"
    " WHERE message = ? AND (owner IS NULL OR owner < 0) AND due < ?"
)
_RELEASE = (
    "UPDATE unit SET due = ? WHERE message = ? AND owner IS NULL"
    " AND (due >= ? OR hold IS NOT NULL AND attempts = 0)"
)
_NO_HOLD = "UPDATE unit SET hold = NULL WHERE message = ? AND hold IS NOT NULL AND due <= ?"
_FILE = (
    "SELECT file, (SELECT count(*) FROM unit WHERE message = id AND owner >= 0)"
    " FROM message WHERE id = ?"
)
_DROP = "DELETE FROM unit WHERE message = ?"
_INSERT_EVENT = "INSERT OR IGNORE INTO event (message, n, time, kind, data) VALUES (?, ?, ?, ?, ?)"
_COUNT = "UPDATE counter SET messages = messages - ?, events = events + ?"


class UnitState(Enum):
    """Where a unit stands."""

    WAITING = "waiting"
    LEASED = "leased"
    HELD = "held"  # until somebody releases it

    @classmethod
    def of(cls, due: float | None) -> Self:
        """From the time of the next try, None: it is being tried."""
        if due is None:
            return cls("leased")
        return cls("held" if due >= HELD_UNTIL else "waiting")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages to list; what is None does not matter. Addresses ignore ASCII case."""

    reverse_path: str | None = None
    recipient: str | None = None  # target or original forward-path of any recipient
    domain: str | None = None  # of a target or original forward-path
    created_before: float | None = None
    created_since: float | None = None
    state: UnitState | None = None  # of any unit
    is_quarantined: bool = False  # those in quarantine, and no others
    hook: str | None = None  # what put them there
    reason: str | None = None  # part of why
    quarantined_before: float | None = None
    quarantined_since: float | None = None

    def matches(self, summary: Summary) -> bool:
        if not self._fits_quarantine(summary.envelope.quarantine):
            return False
        if self.created_before is not None and summary.created >= self.created_before:
            return False
        if self.created_since is not None and summary.created < self.created_since:
            return False
        if self.reverse_path is not None and not _same(
            self.reverse_path, summary.envelope.reverse_path
        ):
            return False
        if self.state is not None:
            states = {UnitState.of(due) for _, due, _, _ in summary.units}
            if self.state not in states:
                return False
        if self.recipient is None and self.domain is None:
            return True
        return any(
            self._is_for(address)
            for _, _, _, recipients in summary.units
            for recipient in recipients
            for address in (recipient.target, recipient.original)
        )

    def _fits_quarantine(self, found: quarantine.Quarantine | None) -> bool:
        if found is None or not self.is_quarantined:
            return self.is_quarantined is (found is not None)
        if self.hook is not None and self.hook != found.by:
            return False
        if self.reason is not None and self.reason.lower() not in found.reason.lower():
            return False
        if self.quarantined_before is not None and found.since >= self.quarantined_before:
            return False
        return self.quarantined_since is None or found.since >= self.quarantined_since

    def _is_for(self, address: str) -> bool:
        if self.recipient is not None and not _same(self.recipient, address):
            return False
        return self.domain is None or _same(self.domain, address.rpartition("@")[2])


@dataclass(frozen=True, slots=True)
class Counts:
    """How full the queue is."""

    messages: int
    units: int
    leased: int
    events: int
    next_due: float | None  # of a waiting unit
    quarantined: quarantine.Totals = field(default=quarantine.Totals())  # not in the others


@dataclass(frozen=True, slots=True)
class DestinationSummary:
    """What waits for one route.

    `backlog`: units that are due and wait for room; `next_due`: of the others, None when there are
    none; `error`: the last one of the unit that is due first.
    """

    route: str
    units: int
    leased: int
    backlog: int
    next_due: float | None
    error: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened to one message, or an event that no message owns (its time as id)."""

    message_id: str
    events: tuple[Event, ...]


def open_reader(data_dir: Path, *, clock: Callable[[], float] = time.time) -> QueueReader:
    """Open the queue for the command line. Raises DatabaseError when there is none."""
    paths = QueuePaths(data_dir)
    if not paths.database.exists():
        raise DatabaseError(f"there is no queue in {data_dir}: was the server ever started there?")
    try:
        return QueueReader(paths, connect(paths, Disk()), clock)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise damage(paths, error) from error
    except apsw.Error as error:
        raise DatabaseError(f"{paths.database}: {error}") from error


class QueueReader:
    """Reads and changes by hand; for one thread. A context manager that closes."""

    def __init__(
        self, paths: QueuePaths, connection: apsw.Connection, clock: Callable[[], float]
    ) -> None:
        self._paths = paths
        self._connection = connection
        self._clock = clock
        self._numbers = Numbers(_WRITER)

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

    def messages(self, wanted: MessageFilter | None = None) -> Iterator[Summary]:
        """Waiting messages, oldest first. A message that ends meanwhile may be missing."""
        wanted = wanted or MessageFilter()
        last = ""
        while rows := self._connection.execute(_MESSAGES, (last, _PAGE)).fetchall():
            last = str(rows[-1][0])
            for row in rows:
                summary = self._summary(row)
                if wanted.matches(summary):
                    yield summary

    def message(self, identity: str) -> Summary | None:
        """One waiting message; None when it is not (or no longer) in the queue."""
        row = self._connection.execute(_MESSAGE, (identity,)).fetchone()
        return None if row is None else self._summary(row)

    def content(self, identity: str) -> Content | None:
        """The message itself. Reading it may raise ContentDamaged when it ends meanwhile."""
        row = self._connection.execute(_CONTENT, (identity,)).fetchone()
        if row is None:
            return None
        blob, file, start, size = row
        return content_of(blob, file, start, size, self._paths.spool)

    def trace(self, identity: str) -> Trace:
        """What the history knows of a message; no events: nothing (any more)."""
        events = events_of(self._connection, identity, _MOST_EVENTS)
        return Trace(identity, tuple(events))

    def trace_address(self, address: str, *, limit: int = 100) -> tuple[Trace, ...]:
        """Messages and rejections that name an address, newest first. Scans the history."""
        found = messages_mentioning(self._connection, address, limit)
        return tuple(self.trace(identity) for identity in found)

    def counts(self) -> Counts:
        row = self._connection.execute(_COUNTS).fetchone()
        assert row is not None
        messages, events, units, leased, due = row
        kept = quarantine.totals(self._connection)
        return Counts(
            messages - kept.messages,
            units - kept.messages,
            leased,
            events,
            None if due is None or due >= HELD_UNTIL else due,
            kept,
        )

    def summary(self, limit: int) -> tuple[tuple[DestinationSummary, ...], int, int]:
        """Routes with most units first; how many more there are, and how many units in all.

        From indexes alone: a quarter of a second for a million.
        """
        counts: dict[str, list[int]] = {}
        first: dict[str, tuple[float, str, int]] = {}
        for kind, sql in enumerate((_LEASED, _BACKLOGS, _WAITING)):
            rows = self._connection.execute(sql, quarantine.VALUES)
            for route, number_of, due, message, number in rows:
                counts.setdefault(route, [0, 0, 0])[kind] += number_of
                first[route] = (due, message, number)
        order = sorted(counts, key=lambda route: (-sum(counts[route]), route))
        found = tuple(
            DestinationSummary(
                route,
                sum(counts[route]),
                counts[route][0],
                counts[route][1],
                first[route][0] if counts[route][2] else None,
                self._error_of(*first[route][1:]),
            )
            for route in order[:limit]
        )
        return found, max(0, len(order) - limit), sum(map(sum, counts.values()))

    def _error_of(self, message: str, number: int) -> str:
        row = self._connection.execute(_RECIPIENTS, (message, number)).fetchone()
        recipients = decode_recipients(row[0]) if row is not None else ()
        return next((each.detail for each in recipients if each.detail), "")

    def oldest(self) -> float | None:
        """When the oldest waiting message came, seconds since the epoch; None: there is none."""
        row = self._connection.execute(_OLDEST, quarantine.VALUES).fetchone()
        return None if row is None else float(row[0])

    def latest_events(self, limit: int) -> tuple[Event, ...]:
        """What the history says last, newest first, of the messages that came last."""
        found = latest(self._connection, _LOOK_BACK)
        return tuple(sorted(found, key=lambda event: event.time, reverse=True)[:limit])

    def retry(self, identities: Iterable[str], *, even_held: bool = True) -> int:
        """Make the waiting units of messages due now; returns how many messages had some.

        `even_held`: also those that are held.
        """
        return self._update(identities, _RETRY if even_held else _RETRY_UNHELD, "retry")

    def hold(self, identities: Iterable[str]) -> int:
        """Let waiting units wait until they are released; how many messages had some.

        Nothing held is tried, grows too old or is given up. Units that are being tried are not
        held: their attempt ends as it ends.
        """
        return self._update(identities, _HOLD, "hold", HELD_UNTIL, HELD_UNTIL)

    def release(self, identities: Iterable[str]) -> int:
        """Make units that are held due now; how many messages had some."""
        return self._update(identities, _RELEASE, "release", self._clock(), HELD_UNTIL)

    def release_from_quarantine(self, identities: Iterable[str]) -> int:
        """Let messages go on where they were set aside; how many there were.

        One that was released before, and still waits, is due now.
        """
        return self._update(identities, _RETRY, quarantine.RELEASED)

    def older_in_quarantine(self, since: float, limit: int) -> list[str]:
        """Ids of those that came there before, the oldest first."""
        return quarantine.older_than(self._connection, since, limit)

    def _update(
        self, identities: Iterable[str], sql: str, action: str, due: float | None = None,
        *more: float,
    ) -> int:  # fmt: skip
        due = self._clock() if due is None else due

        def change(identity: str) -> bool:
            self._connection.execute(sql, (due, identity, *more))
            is_changed = self._connection.changes() > 0
            self._connection.execute(_NO_HOLD, (identity, self._clock()))
            if self._connection.changes():  # its sender's time is not waited for
                end_hold(self._connection, identity, self._clock())
            return is_changed

        return self._act(identities, change, action, gone=False)

    def drop(self, identities: Iterable[str], action: str = "drop") -> int:
        """Remove messages without telling anybody; returns how many there were.

        An attempt that is running is not stopped; whatever its result, nothing comes back.
        `action` is what the history says.
        """
        files: list[str] = []

        def change(identity: str) -> bool:
            row = self._connection.execute(_FILE, (identity,)).fetchone()
            if row is None:
                return False
            file, leased = row
            self._connection.execute(_DROP, (identity,))
            name = SpoolName.parse(file or "")
            # While a worker reads the file it stays; the worker removes it with its result.
            if name is not None and name.kind == OWN_FILE and not leased:
                files.append(str(name))
            return True

        dropped = self._act(identities, change, action, gone=True)
        for file in files:
            (self._paths.spool / file).unlink(missing_ok=True)
        return dropped

    def _act(
        self, identities: Iterable[str], change: Callable[[str], bool], action: str, *, gone: bool
    ) -> int:
        """Change message by message in short turns, and record it."""
        done = 0
        pending = list(identities)
        turn = Turn(self._paths)
        try:
            for first in range(0, len(pending), _PAGE):
                with turn, Transaction(self._connection):
                    changed = [one for one in pending[first : first + _PAGE] if change(one)]
                    now = self._clock()
                    events = [OperatorAction(now, one, action) for one in changed]
                    self._connection.executemany(_INSERT_EVENT, self._numbers.rows(events))
                    self._connection.execute(_COUNT, (len(changed) if gone else 0, len(changed)))
                done += len(changed)
        finally:
            turn.close()
        return done

    def _summary(self, row: tuple[Any, ...]) -> Summary:
        identity, created, size, envelope = row
        units = tuple(
            (
                route,
                None if owner is not None and owner >= 0 else due,
                attempts,
                decode_recipients(recipients),
            )
            for route, due, attempts, owner, recipients in self._connection.execute(
                _UNITS, (identity,)
            )
        )
        return Summary(MessageId(identity), created, size, decode_envelope(envelope), units)


def _same(wanted: str, found: str) -> bool:
    return wanted.lower() == found.lower()
