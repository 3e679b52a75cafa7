"""Mailbox directories: opened without following links, made safely, kept while they are current."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from relevo.delivery.mailbox import Mailboxes, MailboxMissing, open_mailbox

KEY = ("d1.test", "ann")


def make(root: Path, key: tuple[str, ...] = KEY) -> Path:
    open_mailbox(root, key, create=True).close()
    return root.joinpath(*key)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_missing_mailbox_is_not_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(MailboxMissing):
        open_mailbox(tmp_path, KEY, create=False)
    assert list(tmp_path.iterdir()) == []


def test_mailbox_is_made_private_with_its_three_directories(tmp_path: Path) -> None:
    box = make(tmp_path)
    assert sorted(entry.name for entry in box.iterdir()) == ["cur", "new", "tmp"]
    for directory in (box.parent, box, *box.iterdir()):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_missing_fixed_part_is_made_too(tmp_path: Path) -> None:
    assert (make(tmp_path / "var" / "mail") / "new").is_dir()


def test_incomplete_mailbox_is_missing_and_then_completed(tmp_path: Path) -> None:
    box = make(tmp_path)
    (box / "new").rmdir()
    with pytest.raises(MailboxMissing):
        open_mailbox(tmp_path, KEY, create=False)
    make(tmp_path)
    assert (box / "new").is_dir()


def test_each_level_is_synced_into_its_parent_before_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_mkdir, real_fsync = os.mkdir, os.fsync

    def mkdir(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        steps.append(f"mkdir {path}")
        real_mkdir(path, mode, dir_fd=dir_fd)

    def fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "fsync", fsync)
    make(tmp_path)
    root = tmp_path.name
    assert steps == [
        "mkdir d1.test", f"fsync {root}",
        "mkdir ann", "fsync d1.test",
        "mkdir tmp", "fsync ann",
        "mkdir cur", "fsync ann",
        "mkdir new", "fsync ann",
        "fsync ann",
    ]  # fmt: skip


def link_domain(root: Path, outside: Path) -> None:
    (root / "d1.test").symlink_to(outside)


def link_user(root: Path, outside: Path) -> None:
    (root / "d1.test").mkdir()
    (root / "d1.test" / "ann").symlink_to(outside)


def link_user_dangling(root: Path, outside: Path) -> None:
    (root / "d1.test").mkdir()
    (root / "d1.test" / "ann").symlink_to(outside / "absent")


def link_new(root: Path, outside: Path) -> None:
    box = make(root)
    (box / "new").rmdir()
    (box / "new").symlink_to(outside)


def link_tmp(root: Path, outside: Path) -> None:
    box = make(root)
    (box / "tmp").rmdir()
    (box / "tmp").symlink_to(outside)


def file_for_user(root: Path, outside: Path) -> None:
    (root / "d1.test").mkdir()
    (root / "d1.test" / "ann").write_text("x")


def fifo_for_new(root: Path, outside: Path) -> None:
    box = make(root)
    (box / "new").rmdir()
    os.mkfifo(box / "new")


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    "plant",
    [link_domain, link_user, link_user_dangling, link_new, link_tmp, file_for_user, fifo_for_new],
)
def test_link_or_file_in_the_way_is_never_followed(
    tmp_path: Path, plant: Callable[[Path, Path], None], create: bool
) -> None:
    root, outside = tmp_path / "mail", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    for name in ("cur", "new", "tmp"):
        (outside / name).mkdir()
    plant(root, outside)
    before = open_descriptors()
    with pytest.raises(NotADirectoryError):
        open_mailbox(root, KEY, create=create)
    assert open_descriptors() == before
    assert sorted(entry.name for entry in outside.iterdir()) == ["cur", "new", "tmp"]


def test_link_as_the_fixed_part_is_the_operators_wish(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "mail").symlink_to(tmp_path / "real")
    make(tmp_path / "mail")
    assert (tmp_path / "real" / "d1.test" / "ann" / "new").is_dir()


def test_mailbox_stays_open_between_uses(tmp_path: Path) -> None:
    make(tmp_path)
    mailboxes = Mailboxes(tmp_path)
    with mailboxes.borrow(KEY, create=False) as first:
        pass
    with mailboxes.borrow(KEY, create=False) as second:
        assert second is first
    mailboxes.close()


def test_removed_mailbox_is_missing(tmp_path: Path) -> None:
    box = make(tmp_path)
    mailboxes = Mailboxes(tmp_path)
    with mailboxes.borrow(KEY, create=False):
        pass
    for name in ("cur", "new", "tmp"):
        (box / name).rmdir()
    box.rmdir()
    with pytest.raises(MailboxMissing), mailboxes.borrow(KEY, create=False):
        pass
    mailboxes.close()


def test_mailbox_that_moved_away_is_opened_anew(tmp_path: Path) -> None:
    box = make(tmp_path)
    mailboxes = Mailboxes(tmp_path)
    with mailboxes.borrow(KEY, create=False) as first:
        pass
    box.rename(box.with_name("old"))
    make(tmp_path)
    with mailboxes.borrow(KEY, create=False) as second:
        assert second is not first
        assert second.is_current()
    mailboxes.close()


def test_kept_mailboxes_are_bounded_and_closed(tmp_path: Path) -> None:
    before = open_descriptors()
    mailboxes = Mailboxes(tmp_path, capacity=3)
    for number in range(10):
        with mailboxes.borrow(("d1.test", f"u{number}"), create=True):
            pass
    assert open_descriptors() == before + 3 * 3
    mailboxes.close()
    assert open_descriptors() == before


def test_mailbox_in_use_is_closed_only_afterwards(tmp_path: Path) -> None:
    before = open_descriptors()
    mailboxes = Mailboxes(tmp_path, capacity=1)
    with mailboxes.borrow(KEY, create=True) as used:
        with mailboxes.borrow(("d1.test", "bob"), create=True):
            pass
        mailboxes.close()
        os.fsync(used.new_fd)
    assert open_descriptors() == before


def test_error_inside_drops_the_mailbox(tmp_path: Path) -> None:
    mailboxes = Mailboxes(tmp_path)
    with pytest.raises(OSError, match="broken"), mailboxes.borrow(KEY, create=True) as first:
        raise OSError(5, "broken")
    with mailboxes.borrow(KEY, create=False) as second:
        assert second is not first
    mailboxes.close()


def test_a_directory_whose_sync_failed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second sync may succeed although the name was lost, so the name must be written again."""
    real, made = os.fsync, tmp_path / "d1"

    def fsync(descriptor: int) -> None:
        if made.exists():
            raise OSError(errno.EIO, "told to")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="told to"):
        open_mailbox(tmp_path, ("d1", "ann"), create=True)
    assert not made.exists()
