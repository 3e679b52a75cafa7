"""Whatever the disk does, what was answered 250 is there, and the server recovers by itself.

Faults are injected below the C library (`injected/shim.c`) while mail flows: into the server's
database, its log, its spool and the mailboxes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from fault.injected.board import Fault, Operation
from fault.injected.scene import Scene
from harness.processes import Reaper

pytestmark = [pytest.mark.needs_debian("gcc"), pytest.mark.timeout(180)]

WAL, DATABASE, SPOOL, MAIL = "/data/queue.db-wal", "/data/queue.db", "/data/spool", "/mail/"
SEGMENTS, OWN_FILES = ".seg", ".msg"
WRITE, SYNC, OPEN, READ, RENAME = (
    Operation.WRITE,
    Operation.SYNC,
    Operation.OPEN,
    Operation.READ,
    Operation.RENAME,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Reaper() as reaper:
        made = Scene(reaper, tmp_path_factory.mktemp("faults"))
        made.start()
        yield made
        made.site.server.stop(30)


def fault(
    operations: Operation, path: str, error: int = 0, *, times: int = -1, is_short: bool = False
) -> Fault:
    return Fault(operations=operations, path=path, error=error, times=times, is_short=is_short)


@pytest.mark.parametrize(
    "injected",
    [
        pytest.param(fault(WRITE, WAL, errno.ENOSPC), id="log-full"),
        pytest.param(fault(WRITE, SEGMENTS, errno.ENOSPC), id="segments-full"),
        pytest.param(fault(WRITE, OWN_FILES, errno.ENOSPC), id="own-files-full"),
        pytest.param(fault(WRITE, "/data/", errno.ENOSPC), id="all-full"),
        pytest.param(fault(WRITE | OPEN, "/data/", errno.EROFS), id="all-read-only"),
        pytest.param(fault(WRITE, WAL, errno.EIO), id="log-write-fails"),
        pytest.param(fault(SYNC, WAL, errno.EIO), id="log-sync-fails"),
        pytest.param(fault(SYNC, SEGMENTS, errno.EIO), id="segment-sync-fails"),
        pytest.param(fault(SYNC, OWN_FILES, errno.EIO), id="own-file-sync-fails"),
        pytest.param(fault(SYNC, SPOOL, errno.EIO), id="spool-sync-fails"),
        pytest.param(fault(OPEN, SPOOL, errno.EMFILE), id="no-descriptor-for-the-spool"),
        pytest.param(fault(OPEN, "/data/", errno.EMFILE), id="no-descriptor-at-all"),
    ],
)
def test_a_fault_refuses_mail_for_now_and_passes(scene: Scene, injected: Fault) -> None:
    with scene.load() as load:
        load.wait_for_answers(20)
        with scene.outage(load, injected):
            load.wait_for_refusals(20)
            load.wait_for_refusals(1)
        load.wait_for_answers(50)
    assert {code // 100 for code in scene.ledger.codes} == {4}
    scene.verdict().require_nothing_lost()


@pytest.mark.parametrize(
    "injected",
    [
        pytest.param(fault(WRITE, "/site/", is_short=True), id="writes-taken-in-part"),
        pytest.param(fault(WRITE | READ, "/site/", errno.EINTR, times=100), id="interrupted"),
        pytest.param(fault(READ, "/site/", is_short=True), id="reads-given-in-part"),
    ],
)
def test_what_the_kernel_may_do_at_any_time_is_no_fault(scene: Scene, injected: Fault) -> None:
    with scene.load() as load, scene.outage(load, injected, hits=50):
        load.wait_for_answers(100)
    scene.verdict().require_nothing_lost()


@pytest.mark.parametrize(
    "injected",
    [
        pytest.param(fault(WRITE, MAIL, errno.ENOSPC), id="full"),
        pytest.param(fault(SYNC, "/new", errno.EIO), id="folder-sync-fails"),
        pytest.param(fault(SYNC, "/tmp/1", errno.EIO, times=30), id="file-sync-fails"),
        pytest.param(fault(RENAME, MAIL, errno.EROFS), id="no-names"),
    ],
)
def test_a_mailbox_that_fails_keeps_its_mail_waiting(scene: Scene, injected: Fault) -> None:
    with scene.load() as load:
        with scene.outage(load, injected, hits=20):
            load.wait_for_answers(20)
        load.wait_for_answers(20)
    assert not scene.suspended()
    scene.verdict().require_nothing_lost()


def test_content_that_cannot_be_read_now_is_delivered_later(scene: Scene) -> None:
    """Mail for the command is read from the spool, and so is what waits."""
    with scene.load() as load, scene.outage(load, fault(READ | OPEN, OWN_FILES, errno.EIO), hits=5):
        load.wait_for_answers(100)
    assert not scene.suspended()
    scene.verdict().require_nothing_lost()
