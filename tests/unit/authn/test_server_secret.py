"""The server's own secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.authn.server_secret import FILE_NAME, server_secret

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_and_only_the_server_reads_it(tmp_path: Path) -> None:
    first = server_secret(tmp_path)
    assert len(first) == 32
    assert server_secret(tmp_path) == first
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_two_servers_have_different_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert server_secret(tmp_path / "a") != server_secret(tmp_path / "b")


def test_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"short")
    assert len(server_secret(tmp_path)) == 32
