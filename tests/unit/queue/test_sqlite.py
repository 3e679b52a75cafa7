"""The SQLite engine keeps the contract, and what is its own."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from relevo.journal.events import Event
from relevo.queue.reading import open_reader
from relevo.queue.store import Store
from unit.queue import samples
from unit.queue.store_contract import StoreContract


class TestSqliteContract(StoreContract):
    """The conformance kit over SQLite."""

    def opened(self, directory: Path, *, owner: int = 0) -> AbstractAsyncContextManager[Store]:
        return samples.opened(directory, owner=owner)

    def history(self, directory: Path, identity: str) -> tuple[Event, ...]:
        with open_reader(directory) as reader:
            return reader.trace(identity).events
