"""A directory with a few users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from unit.authn.accounts import USERS, directory_of

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.directory.directory import Directory


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return directory_of(tmp_path, USERS)
