"""A queue with messages and history, and somebody who answers on the control socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from harness.config_dir import ConfigDir
from relevo.journal import Event
from relevo.queue import StoreOptions, create_database, new_id, open_store
from relevo.queue.store import (
    Envelope,
    MemoryContent,
    NewMessage,
    NewUnit,
    QueuedRecipient,
    TargetKind,
)
from relevo.service.control import ControlSocket

HOUR = 3600.0


def waiting_message(
    *,
    now: float,
    age: float = 0.0,
    sender: str = "alice@example.org",
    recipient: str = "bob@example.net",
    detail: str = "",
    data: bytes = b"Subject: x\r\n\r\nHello\r\n",
) -> NewMessage:
    """A message for one recipient elsewhere, due in an hour."""
    queued = QueuedRecipient(TargetKind.MAIL, recipient, recipient, detail=detail)
    return NewMessage(
        id=new_id(now - age),
        created=now - age,
        envelope=Envelope(sender, auth="alice@example.org"),
        content=MemoryContent(data),
        units=(NewUnit("mx:example.net", (queued,), now + HOUR),),
    )


def fill_queue(site: ConfigDir, *messages: NewMessage, events: Sequence[Event] = ()) -> None:
    """Put messages and events into the queue of the site, which is made if it has none."""
    site.data.mkdir(exist_ok=True)
    create_database(site.data)

    async def put() -> None:
        loop = asyncio.get_running_loop()
        options = StoreOptions(min_free_space=0.0)
        store = open_store(site.data, owner=0, loop=loop, options=options)
        for message in messages:
            await store.add(message, lease=False)
        for event in events:
            store.record(event)
        await store.close()

    asyncio.run(put())


@contextmanager
def fake_server(site: ConfigDir, answer: Callable[[str], dict[str, object]]) -> Iterator[list[str]]:
    """Somebody who answers one question on the control socket; the questions asked."""
    site.data.mkdir(exist_ok=True)
    asked: list[str] = []

    def note(request: str) -> dict[str, object]:
        asked.append(request)
        return answer(request)

    control = ControlSocket(site.data, note)
    control.socket.settimeout(10)
    thread = threading.Thread(target=control.serve)
    thread.start()
    try:
        yield asked
    finally:
        thread.join(10)
        control.close()
