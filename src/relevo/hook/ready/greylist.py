"""Greylisting: who writes for the first time is asked to come again, as servers do and bots do not.

A client's network (/24, /64), a sender and a recipient that are new get 451; from `delay` seconds
on they are let through, and from then on at once. A network of which `known_after` such triplets
came through is not asked again. Users who have logged in, and clients of `pass_networks`, never
are; `pass_spf` lets through who SPF says pass for.

The store is an SQLite file for all processes of this hook, bounded by `max_entries`. It holds
digests, no addresses. Losing it costs a delay, so nothing is synced.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
import time
from ipaddress import ip_address, ip_network

from relevo.hook import RcptContext, Settings, TempFail, settings

_DAY = 86400
_SWEEP_EVERY = 500  # new entries of a process, between looks at how many there are
_TAKEN_WITHIN_S = 2.0  # how long one process waits for another that writes
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS triplet (
    digest BLOB PRIMARY KEY, since REAL NOT NULL, seen REAL NOT NULL, passed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS triplet_seen ON triplet (seen);
CREATE TABLE IF NOT EXISTS network (
    digest BLOB PRIMARY KEY, passed INTEGER NOT NULL, seen REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS network_seen ON network (seen);
"""
_PRUNE = (
    (
        "DELETE FROM triplet WHERE seen < ?",
        "SELECT count(*) FROM triplet",
        "DELETE FROM triplet WHERE digest IN (SELECT digest FROM triplet ORDER BY seen LIMIT ?)",
    ),
    (
        "DELETE FROM network WHERE seen < ?",
        "SELECT count(*) FROM network",
        "DELETE FROM network WHERE digest IN (SELECT digest FROM network ORDER BY seen LIMIT ?)",
    ),
)


class GreylistSettings(Settings, frozen=True):
    """`store`: the file; its folder must be there and writable. Times are in seconds."""

    store: str
    delay: float = 300.0
    retry_within: float = 2.0 * _DAY
    keep: float = 35.0 * _DAY
    known_after: int = 5  # 0: never
    pass_networks: tuple[str, ...] = ()
    pass_spf: bool = False
    ipv4_prefix: int = 24
    ipv6_prefix: int = 64
    max_entries: int = 500_000
    text: str = "Greylisted, please come again in a few minutes"


class Greylist:
    """The store, for one thread."""

    def __init__(self, chosen: GreylistSettings) -> None:
        self._settings = chosen
        self._new = 0
        self._store = sqlite3.connect(
            chosen.store, timeout=_TAKEN_WITHIN_S, isolation_level=None, check_same_thread=False
        )
        self._store.executescript(_SCHEMA)

    def close(self) -> None:
        """The file is let go."""
        self._store.close()

    def wait_for(self, client: str, sender: str, recipient: str, *, now: float) -> float:
        """Seconds that the client still has to wait; 0: it may come in."""
        chosen = self._settings
        whole = network_of(client, chosen.ipv4_prefix, chosen.ipv6_prefix)
        network, triplet = _digest(whole), _digest(whole, shape(sender), recipient.lower())
        with self._store:
            self._store.execute("BEGIN IMMEDIATE")
            wait = self._decide(network, triplet, now)
            if self._new >= _SWEEP_EVERY:
                self._new = 0
                self._sweep(now)
        return wait

    def _decide(self, network: bytes, triplet: bytes, now: float) -> float:
        run, chosen = self._store.execute, self._settings
        known = run("SELECT passed FROM network WHERE digest = ?", (network,)).fetchone()
        if chosen.known_after and known and known[0] >= chosen.known_after:
            run("UPDATE network SET seen = ? WHERE digest = ?", (now, network))
            return 0.0
        row = run("SELECT since, seen, passed FROM triplet WHERE digest = ?", (triplet,)).fetchone()
        if row is not None:
            since, seen, passed = row
            window = chosen.keep if passed else chosen.retry_within
            if not 0 <= now - seen <= window or now < since:
                row = None  # forgotten, or of a clock that was set back
        if row is None:
            self._new += 1
            run("INSERT OR REPLACE INTO triplet VALUES (?, ?, ?, 0)", (triplet, now, now))
            return chosen.delay
        if not passed and now - since < chosen.delay:
            return float(since + chosen.delay - now)
        run("UPDATE triplet SET seen = ?, passed = 1 WHERE digest = ?", (now, triplet))
        if not passed:
            run(
                "INSERT INTO network VALUES (?, 1, ?) "
                "ON CONFLICT (digest) DO UPDATE SET passed = passed + 1, seen = excluded.seen",
                (network, now),
            )
        return 0.0

    def _sweep(self, now: float) -> None:
        """What is old goes, then what is oldest."""
        run, chosen = self._store.execute, self._settings
        run("DELETE FROM triplet WHERE seen < ? AND passed = 0", (now - chosen.retry_within,))
        for old, count_all, oldest in _PRUNE:
            run(old, (now - chosen.keep,))
            (count,) = run(count_all).fetchone()
            if count > chosen.max_entries:
                run(oldest, (count - chosen.max_entries * 9 // 10,))


_local = threading.local()


def rcpt(context: RcptContext) -> None:
    """No coroutine function: it waits for a file, so it runs in a thread."""
    chosen = settings(GreylistSettings)
    if context.auth or (chosen.pass_spf and context.spf_result == "pass"):
        return
    client = ip_address(context.client.ip)
    if any(client in ip_network(network, strict=False) for network in chosen.pass_networks):
        return
    if not hasattr(_local, "greylist"):
        _local.greylist = Greylist(chosen)
    wait_s = _local.greylist.wait_for(
        context.client.ip, context.reverse_path, context.forward_path, now=time.time()
    )
    if wait_s > 0:
        raise TempFail(chosen.text, code=451, enhanced="4.7.1")


def network_of(address: str, ipv4_prefix: int, ipv6_prefix: int) -> str:
    """A server's pool sends from many addresses of one network."""
    client = ip_address(address)
    prefix = ipv4_prefix if client.version == 4 else ipv6_prefix
    return str(ip_network((address, prefix), strict=False))


def shape(sender: str) -> str:
    """A sender without what changes from one message of a list to the next."""
    local, at, domain = sender.lower().rpartition("@")
    local = local.partition("+")[0]
    return re.sub(r"[0-9a-f]{16,}|\d+", "#", local) + at + domain


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
