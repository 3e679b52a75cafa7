"""Aliases in a database: SQLite, or PostgreSQL (`pip install relevo[postgres]`).

`query` is one SELECT; the first column of each row is a target, an address or several with commas.
It may name `:address`, `:user` and `:domain` of the address that is looked up. No row is no alias.
May be declared at alias-resolve, and at alias-exists with the same query.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from relevo.hook import (
    AliasContext,
    AliasExistsVerdict,
    AliasResolveVerdict,
    BadSettings,
    Settings,
    secret,
    settings,
)

if TYPE_CHECKING:
    import asyncpg

_MAX_ROWS = 1000
_PARAMETER = re.compile(r"'[^']*'|::|:(address|user|domain)\b")


class DatabaseFailed(Exception):
    """The database does not answer, or not with texts."""


class SqlAliasesSettings(Settings, frozen=True):
    """`database`: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE`."""

    database: str
    query: str = "SELECT target FROM aliases WHERE address = :address"
    password_file: str = ""
    timeout: float = 4.0
    connections: int = 4


class Database(Protocol):
    """Asked for the first column of what the query finds."""

    async def column(self, address: str) -> list[Any]: ...


async def alias_resolve(context: AliasContext) -> AliasResolveVerdict:
    return AliasResolveVerdict(targets=await _targets(context.address))


async def alias_exists(context: AliasContext) -> AliasExistsVerdict:
    return AliasExistsVerdict(exists=bool(await _targets(context.address)))


async def _targets(address: str) -> list[str]:
    chosen = settings(SqlAliasesSettings)
    async with asyncio.timeout(chosen.timeout):
        found = await _database(chosen).column(address)
    if not all(isinstance(each, str) for each in found):
        raise DatabaseFailed("a target is no text")
    return [target for target in found if target.strip()]


class Sqlite:
    """A file that is opened for each question, for reading only."""

    def __init__(self, path: str, chosen: SqlAliasesSettings) -> None:
        self._path = path
        self._settings = chosen

    async def column(self, address: str) -> list[Any]:
        return await asyncio.to_thread(self._ask, address)

    def _ask(self, address: str) -> list[Any]:
        uri = f"file:{self._path.replace('?', '%3f').replace('#', '%23')}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=self._settings.timeout)) as store:
                rows = store.execute(self._settings.query, _values(address))
                return [row[0] for row in rows.fetchmany(_MAX_ROWS)]
        except sqlite3.Error as error:
            raise DatabaseFailed(f"{self._path}: {error}") from error


class Postgres:
    """A pool of connections that is made with the first question."""

    def __init__(self, chosen: SqlAliasesSettings) -> None:
        self._settings = chosen
        self._pool: asyncpg.Pool[Any] | None = None
        self._lock = asyncio.Lock()
        self._query, self._names = numbered(chosen.query)

    async def column(self, address: str) -> list[Any]:
        pool = await self._connected()
        values = _values(address)
        rows = await pool.fetch(self._query, *[values[name] for name in self._names])
        return [row[0] for row in rows[:_MAX_ROWS]]

    async def _connected(self) -> asyncpg.Pool[Any]:
        import asyncpg  # noqa: PLC0415 - an extra, and who has SQLite needs it not

        async with self._lock:
            if self._pool is None:
                password = self._settings.password_file
                self._pool = await asyncpg.create_pool(
                    self._settings.database,
                    password=secret(password) if password else None,
                    min_size=0,
                    max_size=self._settings.connections,
                    timeout=self._settings.timeout,
                    command_timeout=self._settings.timeout,
                )
            return self._pool


def numbered(query: str) -> tuple[str, Sequence[str]]:
    """The query with `$1` for its first parameter, and the names in the order of numbers."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]  # a text, or a cast
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _PARAMETER.sub(number, query), names


def _values(address: str) -> dict[str, str]:
    user, _, domain = address.rpartition("@")
    return {"address": address, "user": user, "domain": domain}


_databases: dict[str, Database] = {}


def _database(chosen: SqlAliasesSettings) -> Database:
    kind, _, rest = chosen.database.partition(":")
    if chosen.database not in _databases:
        if kind == "sqlite":
            _databases[chosen.database] = Sqlite(rest.removeprefix("//"), chosen)
        elif kind in {"postgres", "postgresql"}:
            _databases[chosen.database] = Postgres(chosen)
        else:
            raise BadSettings(f"settings.database {chosen.database!r} is no sqlite: or postgresql:")
    return _databases[chosen.database]
