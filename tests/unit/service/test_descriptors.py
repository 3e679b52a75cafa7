"""How many connections there may be, and what the one too many hears."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from relevo.service.descriptors import Crowd, TurnedAway, most_connections


@pytest.mark.parametrize(("limit", "least", "most"), [(200, 40, 150), (65536, 64000, 65024)])
def test_some_are_kept_back(
    monkeypatch: pytest.MonkeyPatch, limit: int, least: int, most: int
) -> None:
    limit += len(list(Path("/proc/self/fd").iterdir()))  # the tests before may have left some
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert least <= most_connections() <= most


def test_no_limit_is_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert most_connections() > 1_000_000


def test_a_full_worker_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    crowd = Crowd()
    for _ in range(100):
        crowd.say(150)
    assert len(caplog.records) == 1
    assert "150 connections" in caplog.text


@pytest.mark.parametrize(
    ("is_tls", "words"), [(False, b"421 4.3.2 mx.test too many connections\r\n"), (True, b"")]
)
def test_who_is_turned_away_hears_why(is_tls: bool, words: bytes) -> None:
    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: TurnedAway("mx.test", is_tls=is_tls), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            heard = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return heard

    assert asyncio.run(run()) == words
