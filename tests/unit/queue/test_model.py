"""Any order of operations: the store and a dict agree."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from relevo.queue.database import create_database, release_owner
from relevo.queue.reading import open_reader
from relevo.queue.sqlite import SqliteStore, open_store
from relevo.queue.store import QueuedRecipient, RecipientState, StoreFailed, Unit, UnitResult
from unit.queue.samples import NOW, SMALL, message, random_octets, read

T = TypeVar("T")
Key = tuple[str, int]


@dataclass
class ModelUnit:
    """A unit, as it should be."""

    due: float
    owner: int | None
    attempts: int
    recipients: tuple[QueuedRecipient, ...]
    content: bytes


class StoreMachine(RuleBasedStateMachine):
    """Two workers, restarts and an operator."""

    leased = Bundle("leased")  # (owner, unit)

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="relevo-model-"))
        create_database(self.directory)
        self.loop = asyncio.new_event_loop()
        self.stores = [self.open(owner) for owner in (0, 1)]
        self.units: dict[Key, ModelUnit] = {}
        self.now = NOW

    def open(self, owner: int) -> SqliteStore:
        return open_store(self.directory, owner=owner, loop=self.loop, options=SMALL)

    def wait(self, awaitable: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(20):
                return await awaitable

        return self.loop.run_until_complete(bounded())

    def teardown(self) -> None:
        for store in self.stores:
            self.wait(store.close())
        self.loop.close()
        shutil.rmtree(self.directory)

    @rule(
        target=leased,
        owner=st.integers(0, 1),
        size=st.sampled_from([0, 50, 150, 5000, 20_000]),
        routes=st.integers(1, 3),
        delay=st.integers(0, 30),
        lease=st.booleans(),
    )
    def add(self, owner: int, size: int, routes: int, delay: int, lease: bool) -> object:
        data = random_octets(size, size + routes)
        new = message(data, routes=("a", "b", "c")[:routes], due=self.now + delay)
        units = self.wait(self.stores[owner].add(new, lease=lease))
        for number, unit in enumerate(new.units):
            self.units[new.id, number] = ModelUnit(
                unit.due, owner if lease else None, 0, unit.recipients, data
            )
        return multiple(*((owner, unit) for unit in units))

    @rule(target=leased, owner=st.integers(0, 1), limit=st.integers(1, 4), later=st.integers(0, 20))
    def lease(self, owner: int, limit: int, later: int) -> object:
        self.now += later
        found = self.wait(self.stores[owner].lease(now=self.now, limit=limit))
        due = sorted(
            unit.due for unit in self.units.values() if unit.owner is None and unit.due <= self.now
        )
        assert [self.units[unit.message_id, unit.number].due for unit in found] == due[:limit]
        for unit in found:
            expected = self.units[unit.message_id, unit.number]
            assert expected.owner is None
            assert (unit.attempts, unit.recipients) == (expected.attempts, expected.recipients)
            assert read(unit.content) == expected.content
            expected.owner = owner
        return multiple(*((owner, unit) for unit in found))

    @rule(one=consumes(leased), wait=st.none() | st.integers(0, 30), has_dsn=st.booleans())
    def finish(self, one: tuple[int, Unit], wait: int | None, has_dsn: bool) -> None:
        owner, unit = one
        first, *rest = unit.recipients
        recipients = (replace(first, state=RecipientState.FAILED, detail="no"), *rest)
        due = None if wait is None else self.now + wait
        dsns = (message(b"dsn", routes=("back",), due=self.now),) if has_dsn else ()
        self.wait(self.stores[owner].finish(UnitResult(unit, recipients, due, (), dsns)))
        expected = self.units.get((unit.message_id, unit.number))
        if expected is None or expected.owner != owner:
            return  # dropped, or the lease was lost: nothing happens
        for dsn in dsns:
            self.units[dsn.id, 0] = ModelUnit(self.now, None, 0, dsn.units[0].recipients, b"dsn")
        if due is None:
            del self.units[unit.message_id, unit.number]
        else:
            expected.due, expected.owner = due, None
            expected.attempts += 1
            expected.recipients = recipients

    @rule(owner=st.integers(0, 1))
    def release_all(self, owner: int) -> None:
        self.wait(self.stores[owner].release_all())
        self.released(owner)

    @rule(owner=st.integers(0, 1))
    def restart(self, owner: int) -> None:
        self.wait(self.stores[owner].close())
        release_owner(self.directory, owner)
        self.stores[owner] = self.open(owner)
        self.released(owner)

    @rule(choice=st.integers(0, 5), is_drop=st.booleans())
    def operate(self, choice: int, is_drop: bool) -> None:
        ids = sorted({identity for identity, _ in self.units})[choice : choice + 1]
        with open_reader(self.directory, clock=lambda: self.now) as reader:
            changed = reader.drop(ids) if is_drop else reader.retry(ids)
        keys = [key for key in self.units if key[0] in ids]
        if is_drop:
            assert changed == len(ids)
            for key in keys:
                del self.units[key]
        else:
            for key in keys:
                if self.units[key].owner is None:
                    self.units[key].due = self.now

    @rule(owner=st.integers(0, 1))
    def repeat_an_id(self, owner: int) -> None:
        if self.units:
            again = message(identity=next(iter(self.units))[0])
            with pytest.raises(StoreFailed):
                self.wait(self.stores[owner].add(again, lease=False))

    def released(self, owner: int) -> None:
        for unit in self.units.values():
            if unit.owner == owner:
                unit.owner = None

    @invariant()
    def counts_agree(self) -> None:
        with open_reader(self.directory) as reader:
            counts = reader.counts()
        assert counts.units == len(self.units)
        assert counts.messages == len({identity for identity, _ in self.units})
        assert counts.leased == sum(unit.owner is not None for unit in self.units.values())
        due = [unit.due for unit in self.units.values() if unit.owner is None]
        assert counts.next_due == (min(due) if due else None)


StoreMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestStoreMachine = StoreMachine.TestCase
