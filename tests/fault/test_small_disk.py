"""A disk that runs full and one that breaks, real ones where the test may mount them."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fault.injected.board import Board
from fault.injected.scene import Scene
from fault.injected.small_disk import SmallDisk, small_disk
from harness.processes import Reaper
from harness.waiting import wait_for

pytestmark = [pytest.mark.needs_debian("gcc", "e2fsprogs"), pytest.mark.timeout(120)]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


@pytest.fixture
def disk(tmp_path: Path, board: Board) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", board) as disk:
        yield disk


def start(tmp_path: Path, reaper: Reaper, board: Board, disk: SmallDisk) -> Scene:
    scene = Scene(
        reaper,
        tmp_path / "scene",
        board=board,
        disk=disk.folder,
        settings={"listen.monitoring": "127.0.0.1:0"},
    )
    scene.start()
    return scene


def is_ready(scene: Scene) -> bool:
    try:
        with urllib.request.urlopen(f"http://{scene.site.server.monitoring}/readyz", timeout=5):
            return True
    except urllib.error.HTTPError:
        return False


def test_a_full_disk_refuses_mail_until_there_is_room(
    tmp_path: Path, board: Board, disk: SmallDisk
) -> None:
    with Reaper() as reaper:
        scene = start(tmp_path, reaper, board, disk)
        with scene.load() as load:
            load.wait_for_answers(50)
            disk.fill()
            load.wait_for_refusals(20)
            wait_for(scene.suspended, what="a store that says it")
            assert not is_ready(scene)
            disk.free()
            load.wait_for_answers(50)
        assert {code // 100 for code in scene.ledger.codes} == {4}
        wait_for(lambda: is_ready(scene), what="readiness")
        scene.verdict().require_nothing_lost()
        assert scene.site.server.stop(30) == 0
        assert not scene.site.damage()


def test_a_disk_that_breaks_under_load_has_all_that_was_answered(
    tmp_path: Path, board: Board, disk: SmallDisk
) -> None:
    with Reaper() as reaper:
        scene = start(tmp_path, reaper, board, disk)
        with scene.load() as load:
            load.wait_for_answers(100)
            disk.shut_down()
            # Each session has one: then the client cannot read where the server listens.
            wait_for(lambda: load.refused, what="a refusal")
            scene.site.server.process.send(signal.SIGKILL)
            scene.site.server.process.kill()
            wait_for(lambda: set(reaper.left()) <= {load.pid}, what="the end of all processes")
            disk.repair()
            scene.site.listeners.unlink(missing_ok=True)  # it is never synced
            scene.start()
            load.wait_for_answers(50)
        # A commit whose sync failed was refused, and yet may have reached the disk before it broke:
        # nothing can be written over it any more. The client sends again, so it is there twice.
        scene.ledger.unanswered += scene.ledger.refused_names
        scene.verdict().require_nothing_lost()
        assert scene.site.server.stop(30) == 0
        assert not scene.site.damage()
