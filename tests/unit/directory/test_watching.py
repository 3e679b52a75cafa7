"""Changes on disk: seen, or kept away with the last good state."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from relevo.config.model import Config
from relevo.directory.problems import DirectoryErrors
from relevo.directory.values import Existence, MailTarget
from relevo.directory.watching import DirectoryWatcher
from relevo.mail.address import Address

USER = 'users: { key: "user" value: { denied: {} } }\n'
LATER = time.time() + 3600


class Disk:
    """A config directory; each write is at a time of its own, an hour or more ago."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writes = 0
        self.write("d1.test/users", USER)
        self.write("d1.test/aliases", "a: user\n")

    def write(self, name: str, text: str) -> Path:
        path = self.path / "domains" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._writes += 1
        os.utime(path, (self._writes, self._writes))
        return path

    def watch(self, postmaster: str = "") -> DirectoryWatcher:
        return DirectoryWatcher(Config(config_dir=self.path, postmaster=postmaster))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def expand(watcher: DirectoryWatcher, local: str) -> list[str]:
    targets = watcher.current.expand_now(Address(local, "d1.test"))
    assert targets is not None
    return [target.address.plain for target in targets if isinstance(target, MailTarget)]


def exists(watcher: DirectoryWatcher, text: str) -> bool:
    local, _, domain = text.partition("@")
    return watcher.current.exists_now(Address(local, domain)) is Existence.FOUND


def test_the_directory_is_read_at_once(disk: Disk) -> None:
    watcher = disk.watch()
    assert watcher.current.domains == {"d1.test", "localhost"}
    assert expand(watcher, "a") == ["user@d1.test"]
    assert watcher.problems == ()


def test_without_a_change_the_picture_stays(disk: Disk) -> None:
    watcher = disk.watch()
    current = watcher.current
    assert not watcher.refresh(LATER)
    assert watcher.current is current


def test_unchanged_files_are_not_read(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = disk.watch()

    def forbidden(*_: object) -> int:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(os, "open", forbidden)
    assert not watcher.refresh(LATER)


@pytest.mark.case("A56")
def test_edited_aliases_and_users_are_seen(disk: Disk) -> None:
    watcher = disk.watch()
    before = watcher.current
    disk.write("d1.test/aliases", "a: x@r.test\n")
    disk.write("d1.test/users", USER + 'users: { key: "new" }\n')
    assert watcher.refresh(LATER)
    assert expand(watcher, "a") == ["x@r.test"]
    assert exists(watcher, "new@d1.test")
    assert before.expand_now(Address("a", "d1.test")) == (MailTarget(Address("user", "d1.test")),)


def test_a_second_edit_with_the_same_time_size_and_inode_is_seen(disk: Disk) -> None:
    now = time.time()
    path = disk.write("d1.test/aliases", "a: user\n")
    os.utime(path, (now, now))
    watcher = disk.watch()
    path.write_text("a: juan\n")
    os.utime(path, (now, now))
    assert watcher.refresh(now)
    assert expand(watcher, "a") == ["juan@d1.test"]


def test_files_that_appear_and_disappear(disk: Disk) -> None:
    (disk.path / "domains/d1.test/aliases").unlink()
    watcher = disk.watch()
    assert not exists(watcher, "a@d1.test")
    disk.write("d1.test/aliases", "a: user\n")
    assert watcher.refresh(LATER)
    assert exists(watcher, "a@d1.test")
    (disk.path / "domains/d1.test/users").unlink()
    assert watcher.refresh(LATER)
    assert not exists(watcher, "user@d1.test")
    assert watcher.problems == ()


def test_domains_that_appear_and_disappear(disk: Disk) -> None:
    watcher = disk.watch()
    disk.write("d2.test/users", USER)
    assert watcher.refresh(LATER)
    assert exists(watcher, "user@d2.test")
    (disk.path / "domains/d2.test/users").unlink()
    (disk.path / "domains/d2.test").rmdir()
    assert watcher.refresh(LATER)
    assert watcher.current.domains == {"d1.test", "localhost"}


def test_a_new_domain_waits_until_its_files_are_good(disk: Disk) -> None:
    watcher = disk.watch()
    disk.write("d2.test/users", "nonsense")
    assert not watcher.refresh(LATER)
    assert not watcher.current.is_local("d2.test")
    assert [problem.path.name for problem in watcher.problems] == ["users"]
    disk.write("d2.test/users", USER)
    assert watcher.refresh(LATER)
    assert exists(watcher, "user@d2.test")
    assert watcher.problems == ()


@pytest.mark.case("A48")
@pytest.mark.parametrize("name", ["aliases", "users"])
def test_a_bad_edit_keeps_the_last_good_state_and_is_logged_once(
    disk: Disk, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    watcher = disk.watch()
    good = (disk.path / "domains/d1.test" / name).read_text()
    path = disk.write(f"d1.test/{name}", "\nnonsense\n")
    with caplog.at_level(logging.ERROR, "relevo.directory"):
        assert not watcher.refresh(LATER)
        assert not watcher.refresh(LATER)
    assert expand(watcher, "a") == ["user@d1.test"]
    assert len(caplog.records) == 1
    assert f"{path}:" in caplog.text
    assert [problem.path for problem in watcher.problems] == [path]
    disk.write(f"d1.test/{name}", good)
    assert watcher.refresh(LATER)
    assert watcher.problems == ()


def test_a_bad_file_does_not_keep_the_other_one_from_changing(disk: Disk) -> None:
    watcher = disk.watch()
    disk.write("d1.test/users", "nonsense")
    disk.write("d1.test/aliases", "b: user\n")
    assert watcher.refresh(LATER)
    assert expand(watcher, "b") == ["user@d1.test"]


@pytest.mark.parametrize("kind", ["folder", "named pipe", "link to itself"])
def test_what_is_no_file_is_a_problem_and_never_waited_for(disk: Disk, kind: str) -> None:
    watcher = disk.watch()
    path = disk.path / "domains/d1.test/aliases"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    assert not watcher.refresh(LATER)
    assert expand(watcher, "a") == ["user@d1.test"]
    assert [problem.path for problem in watcher.problems] == [path]


def test_a_file_that_is_readable_again_is_no_problem(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = disk.watch()
    disk.write("d1.test/aliases", "a: user\n")

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", broken)
        assert not watcher.refresh(LATER)
    assert [problem.text for problem in watcher.problems] == ["cannot be read: Input/output error"]
    watcher.refresh(LATER)
    assert watcher.problems == ()


def test_a_folder_of_domains_that_vanishes_keeps_all(disk: Disk) -> None:
    watcher = disk.watch()
    (disk.path / "domains").rename(disk.path / "gone")
    watcher.refresh(LATER)
    assert watcher.problems[0].path == disk.path / "domains"
    assert watcher.current.is_local("d1.test")


@pytest.mark.case("A47")
def test_at_the_start_all_problems_are_told(disk: Disk) -> None:
    disk.write("d1.test/aliases", "ok: user\nnocolon\n")
    disk.write("d1.test/users", "nonsense")
    disk.write("d2.test/aliases", "a@x: b\n")
    (disk.path / "domains/a b").mkdir()
    with pytest.raises(DirectoryErrors) as caught:
        disk.watch(postmaster="a@b c")
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert any("d1.test/aliases:2: no ':'" in line for line in lines)
    assert any("d2.test/aliases:1: " in line for line in lines)
    assert any("postmaster" in line for line in lines)


@pytest.mark.case("C8")
def test_a_missing_folder_of_domains_is_told(tmp_path: Path) -> None:
    with pytest.raises(DirectoryErrors, match="domains: cannot be read"):
        DirectoryWatcher(Config(config_dir=tmp_path))
