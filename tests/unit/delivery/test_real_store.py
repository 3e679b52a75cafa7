"""The dispatcher over the embedded engine: the two rooms agree on the contract."""

from __future__ import annotations

import asyncio
from pathlib import Path

from relevo.delivery import ExpandedTarget, make_dispatcher, plan_units
from relevo.directory import MailTarget
from relevo.journal import Done, Event
from relevo.mail import parse_address
from relevo.queue import create_database, new_id, open_store
from relevo.queue.store import Envelope, MemoryContent, NewMessage
from unit.delivery.loops import Runner
from unit.delivery.samples import MESSAGE
from unit.delivery.test_assembly import configuration, make_directory


def message(now: float, *targets: str, reverse_path: str) -> NewMessage:
    addresses = [parse_address(target) for target in targets]
    units = plan_units(
        (ExpandedTarget(MailTarget(address), address) for address in addresses),
        is_local=lambda domain: domain == "d1.test",
        now=now,
    )
    return NewMessage(new_id(now), now, Envelope(reverse_path), MemoryContent(MESSAGE), units)


def test_mail_reaches_the_mailbox_and_a_failure_the_sender(run: Runner, tmp_path: Path) -> None:
    directory = make_directory(tmp_path)
    config = configuration(tmp_path, f"maildir:{tmp_path}/mail/{{domain}}/{{user}}")
    create_database(tmp_path / "data")

    async def scenario() -> None:
        store = open_store(tmp_path / "data", owner=0, loop=asyncio.get_running_loop())
        done = asyncio.Semaphore(0)

        def journal(event: Event) -> None:
            if isinstance(event, Done):
                done.release()

        now = 1_700_000_000.0
        dispatcher = make_dispatcher(
            config, store=store, directory=lambda: directory, journal=journal, clock=lambda: now
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            leased = message(now, "ann@d1.test", "nobody@d1.test", reverse_path="ann@d1.test")
            dispatcher.take(await store.add(leased, lease=True))
            unleased = message(now, "ann@d1.test", reverse_path="")
            dispatcher.take(await store.add(unleased, lease=False))
            for _ in range(3):  # the two messages and the DSN
                await done.acquire()
            assert await store.next_due() is None
            await dispatcher.drain(5)
        await store.close()

    run(scenario())
    arrived = sorted(path.read_bytes() for path in (tmp_path / "mail/d1.test/ann/new").iterdir())
    assert len(arrived) == 3
    assert any(b"X-Failed-Recipients: nobody@d1.test\n" in text for text in arrived)
    assert not (tmp_path / "mail/d1.test/nobody").exists()
