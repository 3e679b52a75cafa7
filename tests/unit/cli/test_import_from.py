"""`relevo import chasquid`: first said, then done."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_CONFIG, EXIT_NO
from relevo.queue import open_reader
from unit.cli.invoking import Run
from unit.cli.servers import fake_server
from unit.service.takeover.leftovers import item_text, write_item, write_levels


@pytest.fixture
def left(tmp_path: Path) -> Path:
    folder = tmp_path / "chasquid"
    write_item(folder, item_text())
    write_levels(folder, 'name: "r.test" outgoing_sec_level: TLS_SECURE')
    return folder


def test_without_apply_it_is_only_said(run: Run, site: ConfigDir, left: Path) -> None:
    outcome = run("import", "chasquid", str(left))
    assert outcome.code == 0
    item, total = outcome.out.splitlines()
    assert item.startswith("LmQMNLdX89Q  ")
    assert "a@pass.test" in item
    assert total == f"1 message, 1 domain to take over into {site.data}; nothing was changed"
    assert (left / "queue" / "m:LmQMNLdX89Q").exists()
    assert not site.data.exists()


def test_applied_the_message_waits_and_the_server_is_told(
    run: Run, site: ConfigDir, left: Path
) -> None:
    with fake_server(site, lambda _: {}) as asked:
        outcome = run("import", "chasquid", "--apply", "--json", str(left))
    assert asked == ["wake"]
    assert outcome.code == 0
    (item,) = outcome.json["items"]
    with open_reader(site.data) as reader:
        assert [str(one.id) for one in reader.messages()] == item["messages"]
    assert (Path(outcome.json["moved_to"]) / "queue" / "m:LmQMNLdX89Q").exists()
    assert outcome.json["domains"] == [{"name": "r.test", "incoming": 0, "outgoing": 3}]


def test_what_cannot_be_read_is_an_exit_code(run: Run, left: Path) -> None:
    bad = write_item(left, "garbage", "bad")
    outcome = run("import", "chasquid", "--apply", str(left))
    assert outcome.code == EXIT_NO
    assert outcome.err.startswith(f"relevo: {bad}:")
    assert "1 message, 1 domain taken over" in outcome.out
    assert bad.exists()


def test_nothing_is_done_into_a_damaged_queue(run: Run, site: ConfigDir, left: Path) -> None:
    site.data.mkdir()
    (site.data / "queue.db").write_bytes(b"damaged" * 1000)
    outcome = run("import", "chasquid", "--apply", str(left))
    assert outcome.code == EXIT_CONFIG
    assert "relevo queue repair" in outcome.err
    assert (left / "queue" / "m:LmQMNLdX89Q").exists()
