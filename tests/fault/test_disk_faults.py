"""Whatever the disk does, what was answered 250 is there, and the server recovers by itself.

Faults are injected below the C library (`injected/shim.c`) while mail flows: into the server's
database, its log, its spool and the mailboxes.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator

import pytest

from fault import form
from fault.injected.board import Fault, Operation
from fault.injected.scene import Scene
from fault.load.messages import DOMAIN, USERS, Kind, Message
from harness.processes import Reaper
from harness.waiting import wait_for

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


SHORT_FAULTS = [
    pytest.param(fault(WRITE, "/data/", errno.ENOSPC), id="all-full"),
    pytest.param(fault(WRITE | OPEN, "/data/", errno.EROFS), id="all-read-only"),
    pytest.param(fault(SYNC, WAL, errno.EIO), id="log-sync-fails"),
    pytest.param(fault(SYNC, SEGMENTS, errno.EIO), id="segment-sync-fails"),
    pytest.param(fault(SYNC, OWN_FILES, errno.EIO), id="own-file-sync-fails"),
    pytest.param(fault(OPEN, SPOOL, errno.EMFILE), id="no-descriptor-for-the-spool"),
]
LONG_FAULTS = [
    pytest.param(fault(WRITE, WAL, errno.ENOSPC), id="log-full"),
    pytest.param(fault(WRITE, SEGMENTS, errno.ENOSPC), id="segments-full"),
    pytest.param(fault(WRITE, OWN_FILES, errno.ENOSPC), id="own-files-full"),
    pytest.param(fault(WRITE, WAL, errno.EIO), id="log-write-fails"),
    pytest.param(fault(SYNC, SPOOL, errno.EIO), id="spool-sync-fails"),
    pytest.param(fault(OPEN, "/data/", errno.EMFILE), id="no-descriptor-at-all"),
]


@pytest.mark.parametrize(
    "injected", [*SHORT_FAULTS, *(LONG_FAULTS if form.FORM is form.FULL else ())]
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
    """Mail in a file of its own is read from there to be delivered."""
    with scene.load() as load, scene.outage(load, fault(READ, OWN_FILES, errno.EIO), hits=5):
        load.wait_for_answers(20)
    assert not scene.suspended()
    scene.verdict().require_nothing_lost()


def try_to_send(scene: Scene) -> int:
    """The code that ends it."""
    with scene.site.server.dialog() as client:
        client.expect(250, "EHLO client.test")
        code = client.command("MAIL FROM:<a@client.test>").code
        if code != 250:
            return code
        client.expect(250, f"RCPT TO:<{USERS[0]}@{DOMAIN}>")
        return client.message(b"Subject: x\r\n\r\nx\r\n").code


def test_a_store_that_fails_says_so_and_does_not_spin(scene: Scene) -> None:
    server = scene.site.server
    with scene.board.inject(fault(WRITE | SYNC | OPEN, "/data/", errno.EIO)) as injected:
        while not scene.suspended():
            assert try_to_send(scene) in {421, 451}
        hits, began, used = injected.hits, time.monotonic(), scene.processor_s()
        seen = len(server.process.output())
        wait_for(
            lambda: injected.hits >= hits + 2 and time.monotonic() > began + 2,
            timeout_s=20,
            what="probes of the disk",
        )
        share = (scene.processor_s() - used) / (time.monotonic() - began)
    wait_for(lambda: not scene.suspended(), what="recovery")
    assert share < 0.3
    assert server.process.output()[seen:].count("\n") < 100
    scene.verdict().require_nothing_lost()


def test_a_slow_disk_makes_sessions_wait_and_nothing_else(scene: Scene) -> None:
    slow = Fault(operations=SYNC, path="/data/", delay_s=1.0, times=4)
    with scene.load() as load, scene.outage(load, slow, hits=4):
        load.wait_for_answers(10)
    assert not load.refused
    scene.verdict().require_nothing_lost()


def test_while_the_disk_hangs_nothing_is_answered_and_then_everything_once(scene: Scene) -> None:
    hanging = Fault(operations=SYNC, path=WAL, delay_s=600.0)
    impatient = Message("gone", 0, 300, Kind.LOCAL)
    with scene.load() as load:
        load.wait_for_answers(10)
        with scene.board.inject(hanging) as injected:
            wait_for(lambda: injected.hits >= 1, what="a sync that hangs")
            answered = load.answered
            with scene.site.server.dialog() as client:
                client.envelope("a@client.test", impatient.recipient)
                client.expect(354, "DATA")
                client.send(impatient.content() + b".\r\n")
                assert not client.pending(1.0)
            scene.ledger.unanswered[impatient.name] += 1
            with scene.site.server.dialog() as client:
                client.expect(250, "EHLO other.test")
                client.expect(250, "NOOP")
            assert load.answered - answered <= 6  # of the batch before
        load.wait_for_answers(20)
    scene.verdict().require_nothing_lost()
