"""The durable queue: messages, their units, leases, retry times and history.

The contract is in `store`; `sqlite` is the embedded engine. The supervisor calls
`create_database` before forking and `release_owner` for a worker that died; each worker calls
`open_store`; the command line calls `open_reader`.
"""

from relevo.queue.database import (
    DatabaseError,
    create_database,
    release_all_owners,
    release_owner,
)
from relevo.queue.sqlite import SqliteStore, StoreOptions, open_store

__all__ = [
    "DatabaseError",
    "SqliteStore",
    "StoreOptions",
    "create_database",
    "open_store",
    "release_all_owners",
    "release_owner",
]
