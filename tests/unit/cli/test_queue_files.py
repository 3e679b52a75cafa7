"""`relevo queue export`, `import` and `repair`, without a running server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_CONFIG, EXIT_NO, EXIT_USAGE
from relevo.queue import open_reader
from relevo.queue.store import NewMessage
from relevo.service.data_dir import DataDirLock
from unit.cli.invoking import Run
from unit.cli.servers import HOUR, fake_server, fill_queue, waiting_message

NOW = time.time()
LARGE = b"A: b\r\n\r\n" + b"x" * 50_000


@pytest.fixture
def old() -> NewMessage:
    return waiting_message(now=NOW, age=3 * HOUR, data=LARGE)


@pytest.fixture
def new() -> NewMessage:
    return waiting_message(now=NOW, sender="", recipient="carol@bücher.example")


@pytest.fixture(autouse=True)
def queue(site: ConfigDir, old: NewMessage, new: NewMessage) -> None:
    fill_queue(site, old, new)


def waiting(site: ConfigDir) -> set[str]:
    with open_reader(site.data) as reader:
        return {str(summary.id) for summary in reader.messages()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_named_messages_are_written_and_stay(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage, tmp_path: Path
) -> None:
    outcome = run("queue", "export", old.id.upper(), str(tmp_path / "out"))
    assert outcome.out == f"1 message written to {tmp_path / 'out'}\n"
    assert names(tmp_path / "out") == {f"{old.id}.eml", f"{old.id}.json"}
    assert (tmp_path / "out" / f"{old.id}.eml").read_bytes() == LARGE
    assert waiting(site) == {old.id, new.id}


def test_all_and_filters_choose_as_elsewhere(run: Run, new: NewMessage, tmp_path: Path) -> None:
    assert run("queue", "export", str(tmp_path / "none")).code == EXIT_USAGE
    assert run("queue", "export", "--all", str(tmp_path / "all")).code == 0
    assert len(names(tmp_path / "all")) == 4
    assert run("queue", "export", "--sender", "<>", str(tmp_path / "some")).code == 0
    assert names(tmp_path / "some") == {f"{new.id}.eml", f"{new.id}.json"}


def test_a_damaged_message_is_named_and_the_others_are_written(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage, tmp_path: Path
) -> None:
    for path in (site.data / "spool").glob("*.seg"):
        path.unlink()
    outcome = run("queue", "export", "--all", str(tmp_path / "out"))
    assert outcome.code == EXIT_CONFIG
    assert outcome.err.startswith(f"relevo: {old.id}: ")
    assert names(tmp_path / "out") == {f"{new.id}.eml", f"{new.id}.json"}


def test_an_emptied_queue_is_filled_again_when_that_is_asked_for(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage, tmp_path: Path
) -> None:
    run("queue", "export", "--all", str(tmp_path / "out"))
    outcome = run("queue", "import", str(tmp_path / "out"))
    assert outcome.out.endswith("0 messages imported\n")
    assert f"{old.id}: left out, in the queue already" in outcome.out
    run("queue", "drop", "--all", "--yes")
    assert "known to the history" in run("queue", "import", str(tmp_path / "out")).out
    assert waiting(site) == set()
    outcome = run("queue", "import", "--again", str(tmp_path / "out"))
    assert (outcome.code, outcome.out) == (0, "2 messages imported\n")
    assert waiting(site) == {old.id, new.id}


def test_import_makes_a_queue_where_there_is_none(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage, tmp_path: Path
) -> None:
    run("queue", "export", "--all", str(tmp_path / "out"))
    outcome = run("queue", "import", "--set", f"data_dir={tmp_path}/fresh", str(tmp_path / "out"))
    assert (outcome.code, outcome.out) == (0, "2 messages imported\n")
    with open_reader(tmp_path / "fresh") as reader:
        assert {summary.id for summary in reader.messages()} == {old.id, new.id}


def test_files_that_are_wrong_are_named_and_the_others_imported(
    run: Run, site: ConfigDir, old: NewMessage, tmp_path: Path
) -> None:
    run("queue", "export", "--all", str(tmp_path / "out"))
    run("queue", "drop", "--all", "--yes")
    path = tmp_path / "out" / f"{old.id}.json"
    described = json.loads(path.read_text())
    described["units"][0]["route"] = "carrier-pigeon"
    path.write_text(json.dumps(described))
    outcome = run("queue", "import", "--again", str(tmp_path / "out"))
    assert outcome.code == EXIT_NO
    assert outcome.out == "1 message imported\n"
    assert outcome.err == f"relevo: {path}: there is no route 'carrier-pigeon'\n"


def test_a_running_server_looks_at_what_was_imported(
    run: Run, site: ConfigDir, tmp_path: Path
) -> None:
    run("queue", "export", "--all", str(tmp_path / "out"))
    lock = DataDirLock(site.data)
    try:
        with fake_server(site, lambda _: {}) as asked:
            assert run("queue", "import", str(tmp_path / "out")).code == 0
        assert asked == ["wake"]
    finally:
        lock.close()


def test_a_sound_queue_needs_no_repair(run: Run, site: ConfigDir) -> None:
    outcome = run("queue", "repair")
    assert (outcome.code, outcome.out) == (0, "the database is sound: nothing was changed\n")


def test_a_queue_without_database_is_rebuilt(run: Run, site: ConfigDir, old: NewMessage) -> None:
    for path in site.data.glob("queue.db*"):
        path.unlink()
    outcome = run("queue", "repair")
    assert outcome.code == 0
    assert f"1 message rebuilt from files: {old.id}" in outcome.out
    assert "may be delivered again" in outcome.out
    assert outcome.out.startswith("there was no database: ")
    assert waiting(site) == {old.id}


def test_a_damaged_database_says_so_and_is_moved_aside(
    run: Run, site: ConfigDir, old: NewMessage
) -> None:
    for path in site.data.glob("queue.db-*"):
        path.unlink()
    (site.data / "queue.db").write_bytes(b"damaged" * 1000)
    outcome = run("queue", "list")
    assert outcome.code == EXIT_CONFIG
    assert "relevo queue repair" in outcome.err
    outcome = run("queue", "repair")
    assert "the damaged database is in " in outcome.out
    (aside,) = site.data.glob("queue-damaged-*")
    assert (aside / "queue.db").read_bytes() == b"damaged" * 1000
    assert waiting(site) == {old.id}


def test_a_loss_is_an_exit_code(run: Run, site: ConfigDir, old: NewMessage) -> None:
    for path in (site.data / "spool").glob("*.seg"):
        path.unlink()
    outcome = run("queue", "repair")
    assert outcome.code == EXIT_CONFIG
    expected = f"relevo: 1 message waiting, but the content is damaged: {old.id}\n"
    assert outcome.err == expected


def test_repair_is_refused_while_a_server_runs(run: Run, site: ConfigDir) -> None:
    lock = DataDirLock(site.data)
    try:
        outcome = run("queue", "repair")
    finally:
        lock.close()
    assert outcome.code == EXIT_CONFIG
    assert "in use by process" in outcome.err
