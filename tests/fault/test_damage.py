"""Octets that changed on the disk: said, with what to do; nothing else suffers; repair brings back.

Mail is accepted while mailboxes cannot be written, so it waits. Then the server is stopped, octets
are changed, and it is started again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fault.injected.board import Fault, Operation
from fault.injected.scene import Scene
from fault.load.messages import REMOTE_ROUTE, Message
from harness.processes import Reaper
from harness.server import ServerDidNotStart, run_relevo
from harness.waiting import wait_for

pytestmark = [pytest.mark.needs_debian("gcc"), pytest.mark.timeout(120)]

WAITING = 60
PAGE = 4096
IN_DATABASE = 8192  # octets: what is larger stands in the spool
FULL = Fault(operations=Operation.WRITE, path="/mail/", error=errno.ENOSPC)


@pytest.fixture
def scene(reaper: Reaper, tmp_path: Path) -> Iterator[Scene]:
    """A server that was stopped while mail waited."""
    made = Scene(reaper, tmp_path / "scene", settings={"queue.retry_at_start": True})
    made.start()
    with made.board.inject(FULL):
        with made.load() as load:
            load.wait_for_answers(WAITING)
        wait_for(lambda: made.site.counts().leased == 0, what="the first tries")
        assert made.site.server.stop(30) == 0
    yield made
    made.site.server.process.kill()


def rows(scene: Scene) -> list[tuple[str, str, int, int]]:
    """Id, file, start and size of what stands in a segment and goes to a mailbox here."""
    with closing(apsw.Connection(str(scene.site.data / "queue.db"))) as database:
        found = database.execute(
            "SELECT id, file, start, size FROM message"
            " WHERE file GLOB '*.seg' AND id NOT IN (SELECT message FROM unit WHERE route = ?)",
            (REMOTE_ROUTE,),
        )
        return [(str(row[0]), str(row[1]), int(str(row[2])), int(str(row[3]))) for row in found]


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_damaged_record_is_said_and_keeps_no_other_waiting(scene: Scene) -> None:
    identity, file, start, size = rows(scene)[0]
    overwrite(scene.site.data / "spool" / file, start + size // 2, b"\x00")
    scene.start()
    wait_for(
        lambda: scene.site.counts(soon_s=7200.0).here == 1,
        timeout_s=30,
        what="the delivery of all others",
    )
    scene.site.server.wait_for_log(f"{identity}: the stored message is damaged")
    scene.site.server.wait_for_log(f"`relevo queue drop {identity}`")
    name = scene.ledger.accepted.pop(identity)
    assert Message.parse(name).size > IN_DATABASE
    assert scene.site.server.stop(30) == 0
    assert not list(scene.site.mail.rglob(f"*{identity}*"))
    process = run_relevo(
        scene.site.server.reaper, "queue", "repair", "--config-dir", scene.site.config.path,
        folder=scene.site.config.path,
    )  # fmt: skip
    assert identity in process.output()
    overwrite(scene.site.data / "spool" / file, start + size // 2, b"x")


def test_a_damaged_database_is_refused_and_rebuilt_from_the_spool(scene: Scene) -> None:
    site = scene.site
    path = site.data / "queue.db"
    with closing(apsw.Connection(str(path))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        row = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message'")
        page = int(str(next(row)[0]))
    overwrite(path, (page - 1) * PAGE, b"\xff" * PAGE)
    with pytest.raises(ServerDidNotStart, match="relevo queue repair"):
        scene.start()
    process = run_relevo(
        site.server.reaper, "queue", "repair", "--config-dir", site.config.path,
        folder=site.config.path,
    )  # fmt: skip
    print(process.output())
    scene.start()
    verdict = scene.verdict()
    assert not verdict.unexplained
    lost = [line.split()[1].rstrip(":") for line in verdict.lost]
    assert all(Message.parse(name).size <= IN_DATABASE for name in lost), lost
    brought_back = verdict.delivered
    in_spool = [name for name in scene.ledger.accepted.values() if size_of(name) > IN_DATABASE]
    assert brought_back >= len(in_spool) > 10


def size_of(name: str) -> int:
    return Message.parse(name).size
