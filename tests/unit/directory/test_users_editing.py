"""Editing users files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from relevo.directory.problems import FileError
from relevo.directory.users import Denied, Plain, parse_users
from relevo.directory.users_editing import remove_user, set_user
from relevo.mail.address import InvalidUser

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relevo.directory.users import Credential


def read(path: Path) -> Mapping[str, Credential]:
    return parse_users(path.read_bytes(), path=path)


def test_adding_changing_and_removing(tmp_path: Path) -> None:
    path = tmp_path / "users"
    assert set_user(path, "A.B", Denied())
    assert not set_user(path, "a.b", Plain(b"p"))
    assert set_user(path, "other", Denied())
    assert read(path) == {"a.b": Plain(b"p"), "other": Denied()}
    assert path.stat().st_mode & 0o777 == 0o660
    assert remove_user(path, "A.b")
    assert not remove_user(path, "a.b")
    assert read(path) == {"other": Denied()}


def test_a_name_that_nobody_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidUser):
        set_user(tmp_path / "users", "a b", Denied())
    assert list(tmp_path.iterdir()) == []


def test_a_malformed_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("nonsense")
    with pytest.raises(FileError):
        set_user(path, "a", Denied())
    assert path.read_text() == "nonsense"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "users"
    link.symlink_to(tmp_path / "real" / "users")
    set_user(link, "a", Denied())
    assert link.is_symlink()
    assert read(link) == {"a": Denied()}


def test_concurrent_editors_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "users"
    names = [f"user{number}" for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda name: set_user(path, name, Denied()), names))
    assert set(read(path)) == set(names)
