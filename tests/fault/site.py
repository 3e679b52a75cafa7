"""A server under test: its configuration, the folders that stand for its disk, its queue's rows.

Everything that must survive lies below `data` and `mail` of the config directory.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from fault.load.messages import BOTH_ALIAS, DOMAIN, PIPE_ALIAS, REMOTE_ADDRESS, USERS
from harness.config_dir import ConfigDir, Domain, Setting, relevo_config
from harness.processes import Reaper
from harness.server import RelevoServer
from harness.waiting import wait_for
from relevo.service.control import ask

DELIVERY_TIMEOUT_S = 240.0

# Built-ins of the shell only: a program more for each message costs more than the message.
_PIPE_SCRIPT = 'read -r now rest </proc/uptime; echo "RUN $now $MESSAGE_ID" >>{log}\n'
_UNITS = """
SELECT count(*), count(owner),
    coalesce(sum(route IN ('local', 'pipe') AND (owner IS NOT NULL OR due <= ?)), 0)
FROM unit
"""
_SOON_S = 30.0  # a unit that is due later has failed: the first retry comes after a minute


@dataclass(frozen=True, slots=True)
class UnitCounts:
    """Units in the queue at one moment."""

    total: int
    leased: int
    here: int  # to be delivered on this machine, now or soon


@dataclass(frozen=True, slots=True)
class Site:
    """One server over one disk."""

    config: ConfigDir
    server: FaultyServer

    @property
    def data(self) -> Path:
        return self.config.data

    @property
    def mail(self) -> Path:
        return self.config.path / "mail"

    @property
    def listeners(self) -> Path:
        return self.data / "listeners.json"

    @property
    def pipe_log(self) -> Path:
        return self.config.path / "pipe.log"

    def counts(self, *, soon_s: float = _SOON_S) -> UnitCounts:
        """Units in the queue, read beside the running server."""
        with self._reading() as database:
            row = database.execute(_UNITS, (time.time() + soon_s,)).fetchone()
        assert row is not None
        return UnitCounts(*row)

    def waiting(self, route: str) -> set[str]:
        """Ids of messages with a unit of this route in the queue."""
        with self._reading() as database:
            rows = database.execute("SELECT message FROM unit WHERE route = ?", (route,)).fetchall()
        return {str(row[0]) for row in rows}

    def damage(self) -> str:
        """What SQLite's own check finds; empty: nothing."""
        with self._reading() as database:
            found = [str(row[0]) for row in database.execute("PRAGMA integrity_check").fetchall()]
        return "" if found == ["ok"] else "; ".join(found)

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """A connection that changes nothing, not even by being the last one that is closed."""
        path = self.data / "queue.db"
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as database:
            database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            database.set_busy_timeout(5000)
            yield database

    def worker_pids(self) -> list[int]:
        """Of the workers that are there now, asked of the supervisor."""
        workers = ask(self.data, "status")["workers"]
        return [worker["pid"] for worker in workers if worker["pid"]]

    def wait_until_delivered(self) -> None:
        """Until nothing is left that is to be delivered on this machine soon."""
        wait_for(
            lambda: self.counts().here == 0,
            timeout_s=DELIVERY_TIMEOUT_S,
            what=f"all deliveries (of {self.counts()})",
        )

    def remove_disk(self) -> None:
        """Give back the space: the runs of a long form would fill the real disk."""
        shutil.rmtree(self.data)
        shutil.rmtree(self.mail)


def make_site(
    reaper: Reaper,
    path: Path,
    *,
    settings: Mapping[str, Setting] | None = None,
    source: Path | None = None,
    image: Path | None = None,
    disk: Path | None = None,
) -> Site:
    """A site below `path`, not started.

    `source`: run the sources in this folder instead of ours. `image`: a folder with `data` and
    `mail` to start from; it is used up. `disk`: where those two are to be, if not below `path`.
    """
    script = path / "pipe.sh"
    aliases = (
        f"{BOTH_ALIAS}: {USERS[0]}@{DOMAIN}, {REMOTE_ADDRESS}\n{PIPE_ALIAS}: | /bin/sh {script}\n"
    )
    config = relevo_config(
        path,
        domains={DOMAIN: Domain(dict.fromkeys(USERS), aliases)},
        settings={
            "queue.segment_size": "4MiB",
            "log.level": "info",
            "server.grace": "20s",
            "dns.servers": ["127.0.0.1:1"],  # nobody: mail for other servers waits
            **(settings or {}),
        },
    )
    script.write_text(_PIPE_SCRIPT.format(log=path / "pipe.log"))
    for name in ("data", "mail"):
        if disk is not None:
            (disk / name).mkdir(mode=0o700)
            (path / name).symlink_to(disk / name)
        elif image is None:
            (path / name).mkdir(mode=0o700)
        else:
            (image / name).rename(path / name)
    server = FaultyServer(reaper, config, source=source)
    return Site(config, server)


class FaultyServer(RelevoServer):
    """`relevo serve` with an environment of its own: other sources, a library loaded first."""

    def __init__(self, reaper: Reaper, config: ConfigDir, *, source: Path | None = None) -> None:
        super().__init__(reaper, config)
        self.variables: dict[str, str] = {}
        if source is not None:
            self.variables["PYTHONPATH"] = str(source)

    @property
    def command(self) -> list[str]:
        words = super().command
        if not self.variables:
            return words
        return ["/usr/bin/env", *(f"{k}={v}" for k, v in self.variables.items()), *words]
