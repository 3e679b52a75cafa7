"""What every engine of `Store` must do: a class of tests, to be run by the tests of each engine.

An engine's test module subclasses `StoreContract` and says how to open a store on a directory.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.journal.events import Event
from relevo.queue.store import MemoryContent, RecipientState, Store, StoreFailed, Unit
from unit.queue.samples import (
    NOW,
    Source,
    accepted,
    attempted,
    deferred,
    delivered,
    done,
    message,
    random_octets,
    read,
    run,
)


class StoreContract(ABC):
    """The promises of `relevo.queue.store`."""

    @abstractmethod
    def opened(self, directory: Path, *, owner: int = 0) -> AbstractAsyncContextManager[Store]:
        """A store of worker `owner`; what was committed in the directory before is there."""

    @abstractmethod
    def history(self, directory: Path, identity: str) -> tuple[Event, ...]:
        """The events of a message, read beside or after the store."""

    @pytest.mark.parametrize("size", [0, 1, 100, 101, 9000, 40_000], ids=lambda size: f"{size}B")
    def test_content_comes_back_whatever_its_size(self, tmp_path: Path, size: int) -> None:
        data = random_octets(size)

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                await store.add(message(data), lease=False)
                (unit,) = await store.lease(now=NOW, limit=1)
                assert read(unit.content) == data
                assert unit.content.size == size
                assert unit.content.first(10) == data[:10]
                assert unit.content.first(size + 10) == data

        run(check())

    def test_added_message_is_there_after_reopening(self, tmp_path: Path) -> None:
        new = message(random_octets(9000), routes=("a", "b"))

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                assert await store.add(new, lease=False) == ()
            async with self.opened(tmp_path) as store:
                units = await store.lease(now=NOW, limit=9)
                assert sorted(unit.route for unit in units) == ["a", "b"]
                assert {unit.number for unit in units} == {0, 1}
                for unit in units:
                    assert (unit.message_id, unit.created) == (new.id, new.created)
                    assert (unit.envelope, unit.attempts) == (new.envelope, 0)
                    assert unit.recipients == new.units[unit.number].recipients
                    assert read(unit.content) == read(new.content)

        run(check())

    def test_add_with_lease_owns_the_units_and_keeps_the_content_in_memory(
        self, tmp_path: Path
    ) -> None:
        new = message(random_octets(9000), routes=("a", "b"))

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                units = await store.add(new, lease=True)
                assert [unit.number for unit in units] == [0, 1]
                assert all(unit.content is new.content for unit in units)
                assert await store.lease(now=NOW + 1e6, limit=9) == ()
                assert await store.next_due() is None

        run(check())

    def test_same_id_twice_is_refused_and_the_others_of_the_batch_stand(
        self, tmp_path: Path
    ) -> None:
        first, second = message(identity="0same"), message(identity="0same")
        others = [message() for _ in range(5)]

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                await store.add(first, lease=False)
                answers = await asyncio.gather(
                    *(store.add(new, lease=False) for new in (*others, second)),
                    return_exceptions=True,
                )
                assert answers[:-1] == [()] * 5
                assert isinstance(answers[-1], StoreFailed)
                assert len(await store.lease(now=NOW, limit=99)) == 6

        run(check())

    def test_units_are_leased_oldest_due_first_and_only_when_due(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as store:
                for due in (30.0, 10.0, 20.0, 99.0):
                    await store.add(message(due=NOW + due, routes=(str(due),)), lease=False)
                assert await store.next_due() == NOW + 10
                assert await store.lease(now=NOW, limit=9) == ()
                units = await store.lease(now=NOW + 30, limit=2)
                assert [unit.route for unit in units] == ["10.0", "20.0"]
                assert await store.next_due() == NOW + 30
                (last,) = await store.lease(now=NOW + 30, limit=9)
                assert last.route == "30.0"

        run(check())

    def test_a_unit_has_one_owner_among_two_workers(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as one, self.opened(tmp_path, owner=1) as two:
                for _ in range(40):
                    await one.add(message(), lease=False)
                found: list[Unit] = []
                while len(found) < 40:
                    groups = await asyncio.gather(
                        one.lease(now=NOW, limit=3), two.lease(now=NOW, limit=3)
                    )
                    assert any(groups)
                    found += [unit for group in groups for unit in group]
                assert len({unit.message_id for unit in found}) == 40

        run(check())

    def test_finish_with_due_waits_again_with_the_new_states(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as store:
                (unit,) = await store.add(message(), lease=True)
                await store.finish(deferred(unit, NOW + 60))
                assert await store.next_due() == NOW + 60
                assert await store.lease(now=NOW + 59, limit=1) == ()
                (again,) = await store.lease(now=NOW + 60, limit=1)
                assert again.attempts == 1
                states = [recipient.state for recipient in again.recipients]
                assert states == [RecipientState.DELIVERED, RecipientState.PENDING]
                assert again.recipients[1] == unit.recipients[1]

        run(check())

    @pytest.mark.parametrize("size", [20, 9000, 40_000], ids=["inline", "segment", "file"])
    def test_message_goes_with_its_last_unit(self, tmp_path: Path, size: int) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as store:
                new = message(random_octets(size), routes=("a", "b"))
                one, two = await store.add(new, lease=True)
                await store.finish(delivered(one))
                await store.finish(deferred(two, NOW + 1))
                (two,) = await store.lease(now=NOW + 1, limit=9)
                assert read(two.content) == read(new.content)
                await store.finish(delivered(two))
            async with self.opened(tmp_path) as store:
                assert await store.waiting() == 0
                assert await store.lease(now=NOW + 1e6, limit=9) == ()

        run(check())

    def test_dsn_commits_with_the_result_and_waits(self, tmp_path: Path) -> None:
        dsn = message(b"dsn", routes=("mx:back",), due=NOW + 5, reverse_path="")

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                (unit,) = await store.add(message(), lease=True)
                await store.finish(delivered(unit, dsns=(dsn,)))
            async with self.opened(tmp_path) as store:
                assert await store.waiting() == 1
                (found,) = await store.lease(now=NOW + 5, limit=9)
                assert (found.message_id, read(found.content)) == (dsn.id, b"dsn")

        run(check())

    def test_a_result_that_is_refused_changes_nothing(self, tmp_path: Path) -> None:
        """The DSN's id is taken: neither the DSN nor the end of the unit is there."""

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                await store.add(message(identity="0taken", due=NOW + 1e6), lease=False)
                (unit,) = await store.add(message(), lease=True)
                dsn = message(identity="0taken")
                with pytest.raises(StoreFailed):
                    await store.finish(delivered(unit, dsns=(dsn,)))
                await store.release_all()
                assert len(await store.lease(now=NOW, limit=9)) == 1

        run(check())

    def test_a_second_finish_of_a_unit_does_nothing(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as store:
                (unit,) = await store.add(message(), lease=True)
                await store.finish(delivered(unit))
                await store.finish(deferred(unit, NOW))
                await store.finish(delivered(unit, dsns=(message(),)))
                assert await store.lease(now=NOW + 1e6, limit=9) == ()
            async with self.opened(tmp_path) as store:
                assert await store.waiting() == 0

        run(check())

    def test_a_result_of_a_lease_that_was_lost_changes_nothing(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as one, self.opened(tmp_path, owner=1) as two:
                (lost,) = await one.add(message(), lease=True)
                await one.release_all()
                (unit,) = await two.lease(now=NOW, limit=9)
                await one.finish(delivered(lost))
                await one.finish(deferred(lost, NOW))
                assert await one.lease(now=NOW, limit=9) == ()
                await two.finish(deferred(unit, NOW + 60))
                (again,) = await two.lease(now=NOW + 60, limit=9)
                assert again.attempts == 1

        run(check())

    def test_release_all_gives_back_only_what_this_worker_owns(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as one, self.opened(tmp_path, owner=1) as two:
                await one.add(message(routes=("mine",)), lease=True)
                await two.add(message(routes=("theirs",)), lease=True)
                await one.release_all()
                (unit,) = await two.lease(now=NOW, limit=9)
                assert (unit.route, unit.attempts) == ("mine", 0)

        run(check())

    def test_waiting_counts_messages_of_all_workers(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as one, self.opened(tmp_path, owner=1) as two:
                await one.add(message(routes=("a", "b")), lease=True)
                await two.add(message(), lease=False)
                assert await one.waiting() == 2

        run(check())

    def test_events_of_each_step_are_in_the_history_in_order(self, tmp_path: Path) -> None:
        new = message(identity="0events")
        new = replace(new, events=(accepted(new.id),))
        late = done(new.id, at=NOW + 2)

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                (unit,) = await store.add(new, lease=True)
                result = replace(delivered(unit), events=(attempted(new.id, at=NOW + 1),))
                await store.finish(result)
                store.record(late)

        run(check())
        expected = (accepted(new.id), attempted(new.id, at=NOW + 1), late)
        assert self.history(tmp_path, new.id) == expected

    @pytest.mark.parametrize("size", [0, 50, 9000, 2_000_000], ids=lambda size: f"{size}B")
    def test_content_of_a_foreign_kind_is_taken(self, tmp_path: Path, size: int) -> None:
        source = Source(random_octets(size))

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                await store.add(message(source), lease=False)
                (unit,) = await store.lease(now=NOW, limit=1)
                assert read(unit.content) == source.data

        run(check())

    def test_spooled_message_is_head_and_body(self, tmp_path: Path) -> None:
        body = random_octets(700_000)

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                writer = store.spool()
                for start in range(0, len(body), 100_000):
                    writer.write(body[start : start + 100_000])
                    await writer.drained()
                    assert writer.pending < 256 * 1024
                content = writer.finish(b"Received: here\r\n")
                whole = b"Received: here\r\n" + body
                assert content.size == len(whole)
                assert read(content) == whole
                assert content.first(20) == whole[:20]
                (owned,) = await store.add(message(content), lease=True)
                assert read(owned.content) == whole
                await store.release_all()
                (unit,) = await store.lease(now=NOW, limit=1)
                assert read(unit.content) == whole
                assert unit.content.first(20) == whole[:20]

        run(check())

    def test_spooled_content_may_be_added_twice(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as store:
                writer = store.spool()
                writer.write(b"body")
                content = writer.finish(b"head ")
                (one,) = await store.add(message(content), lease=True)
                await store.add(message(content), lease=False)
                await store.finish(delivered(one))
                (two,) = await store.lease(now=NOW, limit=9)
                assert read(two.content) == b"head body"

        run(check())

    def test_after_close_everything_is_refused(self, tmp_path: Path) -> None:
        async def check() -> None:
            async with self.opened(tmp_path) as store:
                pass
            with pytest.raises(StoreFailed):
                await store.add(message(), lease=False)
            with pytest.raises(StoreFailed):
                await store.lease(now=NOW, limit=1)

        run(check())

    def test_a_caller_that_gave_up_owns_nothing(self, tmp_path: Path) -> None:
        """Whether the commit was before or after: the units wait for another try."""

        async def check() -> None:
            async with self.opened(tmp_path) as store:
                tasks = [asyncio.create_task(store.add(message(), lease=True)) for _ in range(20)]
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
                await store.add(message(MemoryContent(b"later"), due=NOW + 9), lease=False)
                await store.waiting()
                queued = await store.lease(now=NOW, limit=99)
                assert len(queued) == 20

        run(check())
