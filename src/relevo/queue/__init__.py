"""The durable queue: messages, their units, leases, retry times and history.

The contract is in `store`; `sqlite` is the embedded engine. The supervisor calls
`create_database` before forking and `release_owner` for a worker that died; each worker calls
`open_store`; the command line calls `open_reader`. Ids and retry times are in `ids` and
`schedule`.
"""

from relevo.queue.content import ContentDamaged, ContentUnreadable
from relevo.queue.database import (
    DatabaseError,
    create_database,
    release_owner,
    start_over,
)
from relevo.queue.health import StoreState
from relevo.queue.ids import new_id
from relevo.queue.levels import SecurityLevel
from relevo.queue.reading import Counts, MessageFilter, QueueReader, Trace, UnitState, open_reader
from relevo.queue.schedule import is_given_up, next_try
from relevo.queue.sqlite import SqliteStore, StoreOptions, open_store

__all__ = [
    "ContentDamaged",
    "ContentUnreadable",
    "Counts",
    "DatabaseError",
    "MessageFilter",
    "QueueReader",
    "SecurityLevel",
    "SqliteStore",
    "StoreOptions",
    "StoreState",
    "Trace",
    "UnitState",
    "create_database",
    "is_given_up",
    "new_id",
    "next_try",
    "open_reader",
    "open_store",
    "release_owner",
    "start_over",
]
