"""A directory made of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from relevo.directory.aliases import parse_aliases
from relevo.directory.directory import Directory, DomainFiles
from relevo.directory.local_part import LocalPartRules
from relevo.directory.users import Denied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relevo.directory.resolution import AliasHooks


class MakeDirectory(Protocol):
    """`d1.test` with these users and this aliases file."""

    def __call__(
        self,
        aliases: str = "",
        *,
        users: Iterable[str] = ("user", "juan", "fruta"),
        separators: str = "+",
        drop: str = ".",
        postmaster: str = "",
        hooks: AliasHooks | None = None,
    ) -> Directory: ...


@pytest.fixture
def make_directory() -> MakeDirectory:
    def make(
        aliases: str = "",
        *,
        users: Iterable[str] = ("user", "juan", "fruta"),
        separators: str = "+",
        drop: str = ".",
        postmaster: str = "",
        hooks: AliasHooks | None = None,
    ) -> Directory:
        rules = LocalPartRules(separators, drop)
        folder = Path("d1.test")
        entries = parse_aliases(
            aliases.encode(), domain="d1.test", rules=rules, path=folder / "aliases"
        )
        files = DomainFiles(folder, dict.fromkeys(users, Denied()), entries)
        return Directory({"d1.test": files}, rules=rules, postmaster=postmaster, hooks=hooks)

    return make
