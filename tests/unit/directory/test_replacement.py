"""Replacing files whole."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from relevo.directory import replacement
from relevo.directory.replacement import exclusive, replace_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"old")
    path.chmod(0o600)
    replace_file(path, b"new", mode=0o660)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o660
    assert list(tmp_path.iterdir()) == [path]


def test_owner_and_group_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"old")
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _, user, group: given.append((user, group)))
    replace_file(path, b"new", mode=0o660)
    assert given == [(os.getuid(), path.stat().st_gid)]


def test_without_the_right_to_the_group_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"old")

    def refuse(descriptor: int, user: int, group: int) -> None:
        raise PermissionError(descriptor, user, group)

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(PermissionError):
        replace_file(path, b"new", mode=0o660)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_disk_before_the_name_is_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"old")
    seen: list[bytes] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        seen.append(path.read_bytes())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    replace_file(path, b"new", mode=0o660)
    assert seen == [b"old", b"new"]


def test_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_bytes(b"0")

    def add() -> None:
        for _ in range(10):
            with exclusive(tmp_path):
                replace_file(path, b"%d" % (int(path.read_bytes()) + 1), mode=0o600)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == b"40"


def test_waiting_for_another_writer_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacement, "LOCK_TIMEOUT_S", 0.0)
    with exclusive(tmp_path), pytest.raises(TimeoutError, match="locked"), exclusive(tmp_path):
        pass
