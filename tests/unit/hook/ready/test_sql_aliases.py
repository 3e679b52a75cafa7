"""Aliases in SQL: what is asked, what is found, and what is a failure."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relevo.hook import BadSettings
from relevo.hook.ready.sql_aliases import (
    DatabaseFailed,
    alias_exists,
    alias_resolve,
    numbered,
)
from relevo.hook.testing import RunHook


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "a?b.db"
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE aliases (address TEXT, target)")
        rows = [("i@d.test", "a@d.test"), ("i@d.test", "b@d.test, c"), ("n@d.test", 3)]
        store.executemany("INSERT INTO aliases VALUES (?, ?)", [*rows, ("e@d.test", " ")])
    return f"sqlite:{path}"


@pytest.mark.parametrize(
    ("address", "targets"),
    [("i@d.test", ["a@d.test", "b@d.test, c"]), ("x@d.test", []), ("e@d.test", []), ("'", [])],
)
def test_rows_are_targets(
    run_hook: RunHook, database: str, address: str, targets: list[str]
) -> None:
    settings = {"database": database}
    assert run_hook(alias_resolve, settings=settings, address=address).targets == targets
    assert run_hook(alias_exists, settings=settings, address=address).exists is bool(targets)


def test_a_query_of_one_s_own(run_hook: RunHook, database: str) -> None:
    query = "SELECT :user || '+x@' || :domain"
    settings = {"database": database, "query": query}
    assert run_hook(alias_resolve, settings=settings, address="a@b.c").targets == ["a+x@b.c"]


@pytest.mark.parametrize(
    ("query", "address", "words"),
    [
        ("SELECT target FROM aliases WHERE address = :address", "n@d.test", "no text"),
        ("SELECT target FROM none", "i@d.test", "no such table"),
        ("DELETE FROM aliases", "i@d.test", "readonly"),
    ],
)
def test_failures(run_hook: RunHook, database: str, query: str, address: str, words: str) -> None:
    with pytest.raises(DatabaseFailed, match=words):
        run_hook(alias_resolve, settings={"database": database, "query": query}, address=address)


def test_a_file_that_is_not_there_is_a_failure(run_hook: RunHook, tmp_path: Path) -> None:
    with pytest.raises(DatabaseFailed, match="unable to open"):
        run_hook(alias_resolve, settings={"database": f"sqlite:{tmp_path}/none.db"})


def test_a_database_of_another_kind(run_hook: RunHook) -> None:
    with pytest.raises(BadSettings, match="'mysql:x' is no sqlite: or postgresql:"):
        run_hook(alias_resolve, settings={"database": "mysql:x"})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a = :address AND b = :user OR c = :address", ("a = $1 AND b = $2 OR c = $1", 2)),
        ("':address' = :domain::text", ("':address' = $1::text", 1)),
        ("x = :addresses", ("x = :addresses", 0)),
    ],
)
def test_parameters_by_number(query: str, expected: tuple[str, int]) -> None:
    text, names = numbered(query)
    assert (text, len(names)) == expected
