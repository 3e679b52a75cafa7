"""A data directory as this release writes it, kept for the tests of later releases.

    python scripts/make_old_data_dir.py tests/data

writes `data-dir-VERSION.tar.gz` there, once a release and with that release's own code; existing
files are never written again. tests/system/test_old_data_dirs.py opens every one of them, and
says which messages and events they hold.
"""

from __future__ import annotations

import asyncio
import sys
import tarfile
import tempfile
from pathlib import Path

from relevo import __version__
from relevo.journal.events import Accepted, Attempted, Done, Outcome
from relevo.queue import StoreOptions, create_database, open_store
from relevo.queue.store import (
    Envelope,
    MemoryContent,
    MessageId,
    NewMessage,
    NewUnit,
    QueuedRecipient,
    TargetKind,
    UnitResult,
)

NOW = 1_790_000_000.0
LATER = NOW + 600
HEAD = b"Subject: of an earlier release\r\n\r\n"
MESSAGES = {  # id: octets of the body; inside the database, in a segment, in a file of its own
    "1m87pd87mcf62yrr1aaa": 10,
    "1m87pd87mcf62yrr1bbb": 20_000,
    "1m87pd87mcf62yrr1ccc": 2_000_000,
}
GONE = "1m87pd87mcf62yrr1ddd"


def message(identity: str, size: int) -> NewMessage:
    """One unit that waits, with a pending and later a delivered recipient; one for a pipe."""
    known = MessageId(identity)
    body = b"x" * (size - 2) + b"\r\n"
    mail = tuple(
        QueuedRecipient(TargetKind.MAIL, f"{name}@r.test", f"{name}@d1.test", notify=("FAILURE",))
        for name in ("bob", "eve")
    )
    pipe = QueuedRecipient(TargetKind.PIPE, "cat -n", "pipe@d1.test")
    return NewMessage(
        known, NOW, Envelope("alice@example.org", body="8BITMIME", envid="e+1", auth="a@d1.test"),
        MemoryContent(HEAD + body),
        (NewUnit("mx:r.test", mail, NOW), NewUnit("pipe", (pipe,), LATER)),
        (Accepted(NOW, known, "192.0.2.1:4321", "alice@example.org", ("bob@d1.test",), size),),
    )  # fmt: skip


async def fill(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    options = StoreOptions(segment_size=1024 * 1024, min_free_space=0.0)
    store = open_store(folder, owner=0, loop=loop, options=options)
    for identity, size in (*MESSAGES.items(), (GONE, 10)):
        await store.add(message(identity, size), lease=False)
    for unit in await store.lease(now=NOW, limit=10):
        first, second = unit.recipients
        delivered = QueuedRecipient(
            first.kind, first.target, first.original, (), first.notify,
            state=type(first.state).DELIVERED, detail="250 ok", status="2.0.0",
        )  # fmt: skip
        event = Attempted(
            NOW, unit.message_id, "alice@example.org", first.target, first.original,
            Outcome.DELIVERED, unit.route, "250 ok",
        )  # fmt: skip
        due = None if unit.message_id == GONE else LATER
        await store.finish(UnitResult(unit, (delivered, second), due, (event,)))
    for unit in await store.lease(now=LATER, limit=10):
        if unit.message_id == GONE:
            done = Done(LATER, GONE, "alice@example.org")
            await store.finish(UnitResult(unit, unit.recipients, None, (done,)))
    await store.release_all()
    await store.close()


def main(target: Path) -> None:
    path = target / f"data-dir-{__version__}.tar.gz"
    if path.exists():
        raise SystemExit(f"{path} exists: it shows what {__version__} wrote and stays as it is")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        create_database(folder)
        asyncio.run(fill(folder))
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, "data")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
