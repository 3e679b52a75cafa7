"""Taking over a whole data directory, interrupted or not."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from relevo.queue import open_reader
from relevo.queue.database import QueuePaths, connect
from relevo.queue.disk import Disk
from relevo.service.takeover import (
    ChasquidIsRunning,
    TakeoverFailed,
    examine,
    running,
    take_over,
    take_over_at_start,
    taking,
)
from relevo.service.takeover.conversion import Site
from unit.service.takeover.leftovers import (
    NOW,
    item_text,
    recipient,
    write_item,
    write_levels,
)

LEVELS = 'name: "r.test" incoming_sec_level: TLS_CLIENT outgoing_sec_level: TLS_SECURE'


def fill(left: Path) -> None:
    write_item(left, item_text())
    write_item(left, item_text(recipient("y@r.test"), identity="second"), "second")
    write_levels(left, LEVELS)
    write_levels(left, 'name: "plain.test"', "plain.test")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def waiting(site: Site) -> list[str]:
    with open_reader(site.config.data_dir) as reader:
        return [str(one.id) for one in reader.messages()]


def levels(site: Site) -> list[tuple[object, ...]]:
    connection = connect(QueuePaths(site.config.data_dir), Disk())
    try:
        return connection.execute("SELECT name, incoming, outgoing FROM domain").fetchall()
    finally:
        connection.close()


def test_looking_changes_nothing(left: Path, site: Site) -> None:
    fill(left)
    before = files(left)
    found = examine(left, site, now=NOW)
    assert [item.item_id for item in found.items] == ["LmQMNLdX89Q", "second"]
    assert [(one.name, one.incoming, one.outgoing) for one in found.domains] == [("r.test", 1, 3)]
    assert files(left) == before
    assert waiting(site) == []
    assert found.moved_to is None


def test_all_is_taken_over_and_the_originals_are_kept(left: Path, site: Site) -> None:
    fill(left)
    found = take_over(left, site, now=NOW)
    assert sorted(waiting(site)) == sorted(one for item in found.items for one in item.messages)
    assert levels(site) == [("r.test", 1, 3)]
    assert found.moved_to == left / "chasquid-backup-20270115T080000Z"
    assert files(found.moved_to) == {
        "queue/m:LmQMNLdX89Q", "queue/m:second", "domaininfo/s:r.test", "domaininfo/s:plain.test",
    }  # fmt: skip
    assert files(left / "queue") == files(left / "domaininfo") == set()


def test_what_cannot_be_read_is_named_and_stays(left: Path, site: Site) -> None:
    fill(left)
    bad = write_item(left, "garbage", "bad")
    worse = write_levels(left, 'name: "-"', "-")
    found = take_over(left, site, now=NOW)
    assert len(found.items) == 2
    assert bad.exists()
    assert worse.exists()
    assert [problem.partition(": ")[0] for problem in found.problems][1:] == [str(worse)]
    assert found.problems[0].startswith(str(bad))


def test_a_takeover_that_was_cut_before_the_move_is_finished_without_duplicates(
    left: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    fill(left)
    with monkeypatch.context() as patch:
        patch.setattr(taking, "_move", cut)
        with pytest.raises(TakeoverFailed, match="No space left"):
            take_over(left, site, now=NOW)
    before = waiting(site)
    assert len(before) == 2
    assert "queue/m:second" in files(left)
    found = take_over(left, site, now=NOW + 60)
    assert waiting(site) == before
    assert found.known == set(before)
    assert files(left / "queue") == set()


def test_what_was_delivered_between_two_tries_does_not_come_back(
    left: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(left)
    with monkeypatch.context() as patch:
        patch.setattr(taking, "_move", lambda *_: None)
        take_over(left, site, now=NOW)
    with open_reader(site.config.data_dir) as reader:
        reader.drop(waiting(site))
    take_over(left, site, now=NOW)
    assert waiting(site) == []


def test_while_chasquid_runs_nothing_is_touched(left: Path, site: Site) -> None:
    fill(left)
    before = files(left)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left / "localrpc-v1"))
        listener.listen()
        with pytest.raises(ChasquidIsRunning, match="stop it first"):
            take_over(left, site, now=NOW)
    assert files(left) == before
    assert waiting(site) == []
    take_over(left, site, now=NOW)  # the socket that is left behind means nothing
    assert len(waiting(site)) == 2


def test_at_start_the_data_directory_itself_is_taken_over(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    fill(site.config.data_dir)
    write_item(site.config.data_dir, "garbage", "bad")
    with caplog.at_level(logging.INFO):
        take_over_at_start(site.config, site.directory)
    assert len(waiting(site)) == 2
    assert "2 messages, security levels of 2 domains" in caplog.text
    assert "m:bad" in caplog.text


def test_at_start_nothing_is_said_where_nothing_was_left(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    before = files(site.config.data_dir)
    with caplog.at_level(logging.DEBUG):
        take_over_at_start(site.config, site.directory)
    assert caplog.text == ""
    assert files(site.config.data_dir) == before


def test_an_older_chasquid_is_found_among_the_processes(left: Path, tmp_path: Path) -> None:
    """By its config directory, where it works; others of that name may have other data."""
    processes = tmp_path / "proc"
    for number, name, data in ((7, "chasquid", left), (8, "chasquid", tmp_path), (9, "bash", left)):
        config_dir = tmp_path / f"etc-{number}"
        config_dir.mkdir()
        (config_dir / "chasquid.conf").write_text(f'hostname: "mx.test" data_dir: "{data}"')
        (processes / str(number)).mkdir(parents=True)
        (processes / str(number) / "comm").write_text(f"{name}\n")
        (processes / str(number) / "cwd").symlink_to(config_dir)
    (processes / "10").mkdir()
    (processes / "meminfo").touch()
    assert sorted(running.data_dirs(processes)) == sorted([left, tmp_path])
