"""The token, and what the monitoring process shows when something cannot be read."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.config.model import Config
from relevo.config.model import Monitoring as Keys
from relevo.config.reception_model import Listen
from relevo.service.monitoring import (
    MonitoringSetup,
    MonitoringSource,
    TokenUnusable,
    read_token,
    token_of,
)
from relevo.service.shared_tables import SharedTables


def config(token_file: str = "") -> Config:
    return Config(
        listen=Listen(monitoring="127.0.0.1:1099"), monitoring=Keys(token_file=token_file)
    )


def test_the_token_is_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" abc \nsecond\n")
    assert read_token(config(str(tmp_path / "token"))) == "abc"
    assert read_token(config()) == ""


@pytest.mark.parametrize("content", [None, b"", b"\nx", b"\xff\xfe"])
def test_a_file_without_a_token_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TokenUnusable, match=str(path)):
        read_token(config(str(path)))


def source(tmp_path: Path, tables: SharedTables) -> MonitoringSource:
    return MonitoringSource(
        MonitoringSetup(
            config=Config(config_dir=tmp_path, data_dir=tmp_path, hostname="mx.test"),
            supervisor=0,
            started=1.0,
            sockets=(),
            addresses={},
            tables=tables,
        )
    )


def test_ready_are_all_workers_or_none(tmp_path: Path) -> None:
    tables = SharedTables(2)
    counters = tables.counters
    shown = source(tmp_path, tables)
    counters.put(0, "is_ready", 1)
    assert not shown.is_ready()
    counters.put(1, "is_ready", 1)
    assert shown.is_ready()
    assert shown.figures().is_ready
    counters.put(0, "is_suspended", 1)
    assert not shown.is_ready()
    assert not shown.figures().is_ready


def test_a_queue_that_cannot_be_read_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"no database at all" * 100)
    shown = source(tmp_path, SharedTables(2))
    figures = shown.figures()
    assert figures.queue is None
    assert len(figures.workers) == 2
    assert shown.latest_events() == ()


def test_a_socket_that_others_reach_never_serves_without_a_token(tmp_path: Path) -> None:
    shown = source(tmp_path, SharedTables(2)).setup
    with (
        socket.create_server(("0.0.0.0", 0)) as reachable,
        socket.create_server(("127.0.0.1", 0)) as local,
    ):
        assert token_of(replace(shown, sockets=(local,))) == ""
        assert len(token_of(replace(shown, sockets=(local, reachable)))) >= 32
