"""Generations: names that never come back, and who may clean up."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from relevo.queue.database import QueuePaths, Transaction, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.generations import Generation, SpoolName, _lock, sweep


@pytest.mark.parametrize("text", ["3-17.seg", "12-1.msg"])
def test_name_is_parsed_as_it_is_written(text: str) -> None:
    name = SpoolName.parse(text)
    assert name is not None
    assert str(name) == text


@pytest.mark.parametrize("text", ["3.lock", "3-17", "x-1.seg", "3-17.seg.bak", "../3-17.seg", ""])
def test_other_names_are_none(text: str) -> None:
    assert SpoolName.parse(text) is None


def test_numbers_of_files_differ() -> None:
    names = [SpoolName(1, 2, "seg"), SpoolName(2, 1, "seg"), SpoolName(1, 3, "seg")]
    assert len({name.number for name in names}) == 3


def make(directory: Path) -> Generation:
    create_database(directory)
    return make_another(directory)


def make_another(directory: Path) -> Generation:
    paths = QueuePaths(directory)
    connection = connect(paths, Disk())
    with Transaction(connection):
        generation = Generation(paths.spool, connection)
    connection.close()
    return generation


def test_generation_is_higher_than_any_file_of_the_spool(tmp_path: Path) -> None:
    """Whatever the database says: a number is not given out again."""
    create_database(tmp_path)
    (tmp_path / "spool" / "41-7.seg").touch()
    first = make_another(tmp_path)
    second = make_another(tmp_path)
    assert (first.number, second.number) == (42, 43)
    assert first.new_name("seg") != first.new_name("seg")
    first.close()
    second.close()


def test_sweep_leaves_files_alone_that_are_not_ours(tmp_path: Path) -> None:
    generation = make(tmp_path)
    spool = tmp_path / "spool"
    for name in ("notes.txt", "0-1.seg", "0-2.msg"):
        (spool / name).touch()
    connection = connect(QueuePaths(tmp_path), Disk())
    assert sweep(spool, connection, Disk()) == 2
    assert {path.name for path in spool.iterdir()} == {"notes.txt", f"{generation.number}.lock"}
    connection.close()
    generation.close()


def test_lock_is_of_the_file_that_has_the_name_now(tmp_path: Path) -> None:
    """A cleaner removes the file between our opening and locking it."""
    path = tmp_path / "1.lock"
    cleaner = _lock(path, wait=True)
    assert cleaner is not None
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.append(_lock(path, wait=True)))
    thread.start()
    thread.join(0.1)  # it waits for the cleaner
    assert thread.is_alive()
    path.unlink()
    os.close(cleaner)
    thread.join(10)
    (descriptor,) = found
    assert descriptor is not None
    assert os.fstat(descriptor).st_ino == path.stat().st_ino
    assert _lock(path, wait=False) is None
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
