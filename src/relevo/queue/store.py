"""The store: what the queue promises, independent of its engine.

Each method is one transaction and says what survives a crash after it. Methods that write return
an awaitable that is done when the effect is *durable*; many callers share one commit. Time is an
argument, ids come from the caller, and no policy lives here: when to try again is decided by
`relevo.queue.schedule`.

A **message** is an envelope with its content. Its recipients are grouped in **units**, one per
(message, route): what one attempt serves. A unit is *waiting* (due at a time), *leased* (owned by a
worker that is trying it) or gone. A message goes with its last unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from enum import Enum
from math import inf
from typing import NewType, Protocol

from relevo.journal.events import Event
from relevo.queue.quarantine import Quarantine
from relevo.value import dataclass

MessageId = NewType("MessageId", str)


Place = Callable[[str], int | None]
"""Says of a route whether this worker takes a unit now (None), or which one it is to wait for."""


class TargetKind(Enum):
    """What a queued recipient is."""

    MAIL = "mail"
    PIPE = "pipe"
    VIA = "via"


class RecipientState(Enum):
    """Where a recipient stands. DELIVERED and FAILED are final."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """One expanded recipient of a message and its state."""

    kind: TargetKind
    target: str  # Address as text, or the pipe's words joined by blanks
    original: str  # the forward-path as accepted
    servers: tuple[str, ...] = ()  # via
    notify: tuple[str, ...] = ()  # NOTIFY keywords, empty: default
    orcpt: str = ""
    state: RecipientState = RecipientState.PENDING
    detail: str = ""  # last error, or the last reply
    status: str = ""  # last enhanced status code
    reverse_path: str = ""  # what it leaves with, if that is not the message's (forwarded mail)
    is_delay_told: bool = False  # the sender knows that it is late


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the sender wishes of the delivery; times in seconds after the message came.

    `deliver_by`: until then, None: whenever. `returns`: not at all after it, else the sender is
    told that it is late; `traces`: the sender is told of each relay. `hold`: not before; `is_date`:
    that was a date, which stays when the clock is set.
    """

    deliver_by: float | None = None
    returns: bool = False
    traces: bool = False
    hold: float = 0.0
    is_date: bool = False
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What travels beside a message."""

    reverse_path: str  # Address as text; "" is the null reverse-path
    body: str = ""  # BODY= as given
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    requires_tls: bool = False  # REQUIRETLS (RFC 8689)
    auth: str = ""  # who submitted it; "" for mail from outside
    wishes: Wishes | None = None  # of the sender, for the delivery
    is_dsn: bool = False
    tags: tuple[str, ...] = ()  # what hooks gave it, for the hooks of later stages
    quarantine: Quarantine | None = None  # it waits for a decision


class Content(Protocol):
    """A whole message: head (our trace fields and the header block) and body, CRLF lines.

    Blocking; large content is read in a thread.
    """

    @property
    def size(self) -> int: ...
    def chunks(self) -> Iterator[bytes]:
        """The octets in pieces of at most 256 KiB."""

    def first(self, octets: int) -> bytes:
        """The first octets, at most as many as asked for."""


@dataclass(frozen=True, slots=True)
class MemoryContent:
    """A message held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        yield self.data

    def first(self, octets: int) -> bytes:
        return self.data[:octets]


@dataclass(frozen=True, slots=True)
class NewUnit:
    """Recipients of one route. `due`: first try; leased at once when the store is told so."""

    route: str
    recipients: tuple[QueuedRecipient, ...]
    due: float


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be accepted, all or nothing: content, units and the event that tells of it."""

    id: MessageId
    created: float
    envelope: Envelope
    content: Content  # MemoryContent, or what SpoolWriter.finish returned
    units: tuple[NewUnit, ...]
    events: tuple[Event, ...] = ()
    first_number: int = 0  # of its units, where another unit of this id is there before


@dataclass(frozen=True, slots=True)
class Unit:
    """A leased unit, ready to be tried."""

    message_id: MessageId
    route: str
    number: int  # of the unit within its message, from 0
    created: float  # of the message
    attempts: int  # before this one
    envelope: Envelope
    recipients: tuple[QueuedRecipient, ...]  # all of the unit, the final ones too
    content: Content
    due: float = inf  # when this try should have been; infinity: just now

    @property
    def since(self) -> float:
        """From when on its age counts: it came then, or was let go by its sender's wish."""
        wishes = self.envelope.wishes
        return self.created if wishes is None else self.created + wishes.hold

    @property
    def deadline(self) -> float:
        """Until when its sender wants it delivered; infinity: whenever."""
        wishes = self.envelope.wishes
        if wishes is None or wishes.deliver_by is None:
            return inf
        return self.created + wishes.deliver_by


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What an attempt did to a unit. `due` None: nothing is left to try, the unit goes."""

    unit: Unit
    recipients: tuple[QueuedRecipient, ...]
    due: float | None
    events: tuple[Event, ...] = ()
    # Commit together with the result. One with the id of a unit that goes takes its place.
    dsns: tuple[NewMessage, ...] = field(default=())


class StoreFailed(Exception):
    """The store could not make it durable; nothing of it will be visible later. → 451."""


class SpoolWriter(Protocol):
    """Takes the body of a message too large for memory while it arrives."""

    def write(self, data: bytes) -> None:
        """Queue octets for the spool thread; raises StoreFailed after an earlier failure."""

    @property
    def pending(self) -> int:
        """Octets handed over and not yet written: stop reading from the client above 1 MiB."""

    async def drained(self) -> None:
        """Wait until `pending` is below 256 KiB."""

    def finish(self, head: bytes) -> Content:
        """Head in front of what was written: content for `Store.add`. Synced by add, not here."""

    def abort(self) -> None:
        """Drop what was written; also after `finish`, as long as no message was made of it."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many units a worker takes in one round.

    `most`: in all. `by_route` and, for routes that are not named there, `by_kind` (what stands
    before the colon) or `otherwise` bound those of one route. `closed`: kinds
    of which no route has room. `resting`: routes of which only messages are taken that came before
    `late_before`. `worker_for` says whose backlog a route's units wait in; None: this worker's.
    Used in another thread: nothing of it may change meanwhile.
    """

    most: int
    by_route: Mapping[str, int]
    by_kind: Mapping[str, int]
    otherwise: int = 0
    closed: frozenset[str] = frozenset()
    worker_for: Callable[[str], int] | None = None
    resting: frozenset[str] = frozenset()
    late_before: float = 0.0

    def of(self, route: str) -> int:
        found = self.by_route.get(route)
        if found is not None:
            return found
        return self.by_kind.get(route.partition(":")[0], self.otherwise)


@dataclass(frozen=True, slots=True)
class Leased:
    """What a round of leases gave.

    `is_more`: the round ended before it had seen everything, look again. `full`: routes that it
    met and that have more units than room. `others`: workers for whom more waits now.
    """

    units: tuple[Unit, ...]
    is_more: bool = False
    full: frozenset[str] = frozenset()
    others: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Summary:
    """A waiting message, for lists."""

    id: MessageId
    created: float
    size: int
    envelope: Envelope
    # Of each unit: route, due (None: leased), attempts, recipients.
    units: tuple[tuple[str, float | None, int, tuple[QueuedRecipient, ...]], ...]


def unleased_routes(message: NewMessage, leased: tuple[Unit, ...]) -> tuple[str, ...]:
    """Routes of a message's units that were added without a lease."""
    if len(leased) == len(message.units):
        return ()
    numbers = {unit.number for unit in leased}
    return tuple(unit.route for number, unit in enumerate(message.units) if number not in numbers)


class Store(Protocol):
    """The durable queue, as one worker sees it."""

    async def add(
        self, message: NewMessage, *, lease: bool, place: Place | None = None
    ) -> tuple[Unit, ...]:
        """Durable on return: the 250 depends on it.

        With `lease`, the units are owned by this worker and returned with the content given; with
        `place` too, only those of routes for which it says None, and the others wait for the
        worker that it names.
        """

    def spool(self) -> SpoolWriter: ...
    async def lease(self, *, now: float, limit: int) -> tuple[Unit, ...]:
        """Own up to `limit` units that are due, oldest due first."""

    async def lease_in(self, room: Room, *, now: float) -> Leased:
        """Own units that are due, as far as there is room; each route has its turn.

        What is due and has no room waits in the backlog of the worker that serves its route.
        """

    async def finish(self, result: UnitResult) -> None:
        """Outcomes, the next try, history and DSNs: one transaction; the lease ends.

        After StoreFailed the lease stands: call again. A result of a unit that was dropped
        meanwhile leaves only its events; a repeated result does nothing.
        """

    async def release_all(self) -> None:
        """Give back every unit of this worker (shutdown)."""

    def record(self, event: Event) -> None:
        """Write history in the next batch; may be lost in a crash, never delays anybody."""

    async def next_due(self) -> float | None: ...
    async def waiting(self) -> int:
        """Messages in the queue (cached, at most a second old; older while the store fails)."""

    async def close(self) -> None: ...
