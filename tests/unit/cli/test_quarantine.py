"""`relevo quarantine` on a queue that no server runs on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_NO, EXIT_USAGE
from relevo.hooks.contract.contexts import Client, PostDataContext
from relevo.journal import OperatorAction
from relevo.queue import MessageFilter, open_reader
from relevo.queue.quarantine import DROPPED, RELEASED, ROUTE, Quarantine, due_of
from relevo.queue.store import NewMessage, NewUnit
from unit.cli.invoking import Run
from unit.cli.servers import HOUR, fake_server, fill_queue, waiting_message
from unit.cli.test_status import ANSWER

NOW = time.time()


def kept(by: str, reason: str, age: float) -> NewMessage:
    plain = waiting_message(now=NOW, age=age)
    context = PostDataContext(
        message_id=plain.id, client=Client("192.0.2.7", 25, "c"),
        reverse_path="alice@example.org", forward_paths=("bob@example.net",),
    )  # fmt: skip
    since = NOW - age
    why = Quarantine(since, "post-data", by, reason, context, (by,), add_recipients=("x@r.test",))
    (unit,) = plain.units
    return replace(
        plain,
        envelope=replace(plain.envelope, quarantine=why, tags=("seen",)),
        units=(NewUnit(ROUTE, unit.recipients, due_of(since)),),
    )


@pytest.fixture
def old() -> NewMessage:
    return kept("spam", "score 17", 3 * HOUR)


@pytest.fixture
def new() -> NewMessage:
    return kept("virus", "EICAR found", 60.0)


@pytest.fixture(autouse=True)
def queue(site: ConfigDir, old: NewMessage, new: NewMessage) -> NewMessage:
    ordinary = waiting_message(now=NOW)
    fill_queue(site, old, new, ordinary)
    return ordinary


def listed(run: Run, *words: str) -> list[str]:
    return [entry["id"] for entry in run("quarantine", "list", "--json", *words).json]


def test_list_shows_who_set_it_aside_and_why(run: Run, old: NewMessage, new: NewMessage) -> None:
    outcome = run("quarantine", "list")
    first, why, recipient, second, *_ = outcome.out.splitlines()
    assert first.startswith(old.id)
    assert why.strip() == "by spam at post-data: score 17"
    assert recipient.strip() == "bob@example.net"
    assert second.startswith(new.id)
    assert outcome.err == "2 messages in quarantine\n"


@pytest.mark.parametrize(
    ("words", "which"),
    [
        (("--hook", "virus"), ["new"]),
        (("--reason", "eicar"), ["new"]),
        (("--older-than", "1h"), ["old"]),
        (("--younger-than", "1h"), ["new"]),
        (("--recipient", "BOB@example.net"), ["old", "new"]),
        (("--sender", "<>"), []),
        (("--limit", "1"), ["old"]),
    ],
)
def test_filters(
    run: Run, old: NewMessage, new: NewMessage, words: tuple[str, ...], which: list[str]
) -> None:
    names = {"old": old.id, "new": new.id}
    assert listed(run, *words) == [names[name] for name in which]


def test_json_has_everything(run: Run, old: NewMessage) -> None:
    entry = run("quarantine", "show", "--json", old.id).json
    assert (entry["by"], entry["stage"], entry["reason"]) == ("spam", "post-data", "score 17")
    assert (entry["recipients"], entry["tags"]) == (["bob@example.net"], ["seen"])
    assert entry["released"] is False


def test_show_tells_all_of_one(run: Run, old: NewMessage) -> None:
    text = run("quarantine", "show", old.id).out
    for part in ("score 17", "spam, at post-data", "adds x@r.test", "tags:     seen", "3h"):
        assert part in text
    assert run("quarantine", "show", "--content", old.id).out.startswith("Subject:")


def test_what_is_not_there_is_a_no(run: Run, queue: NewMessage) -> None:
    for words in (("show", queue.id), ("release", queue.id), ("drop", "--yes", queue.id)):
        outcome = run("quarantine", *words)
        assert outcome.code == EXIT_NO
        assert "not in quarantine" in outcome.err
    assert run("quarantine", "release", "--hook", "none").code == EXIT_NO


def test_queue_leaves_it_alone_and_says_where_it_is(
    run: Run, site: ConfigDir, old: NewMessage, queue: NewMessage
) -> None:
    assert [entry["id"] for entry in run("queue", "list", "--json").json] == [queue.id]
    assert "relevo quarantine show" in run("queue", "show", old.id).err
    for act in ("retry", "release", "hold"):
        assert run("queue", act, old.id).code == EXIT_NO
    run("queue", "release", "--all")
    with open_reader(site.data) as reader:
        assert len(list(reader.messages(MessageFilter(is_quarantined=True)))) == 2


def test_release_makes_it_due_and_records_it(run: Run, site: ConfigDir, old: NewMessage) -> None:
    assert run("quarantine", "release", "--dry-run", old.id).out.endswith(
        "1 message would be released\n"
    )
    assert run("quarantine", "show", "--json", old.id).json["released"] is False
    assert run("quarantine", "release", old.id).out == "1 message released\n"
    assert run("quarantine", "show", "--json", old.id).json["released"] is True
    assert "released, goes on now" in run("quarantine", "show", old.id).out
    with open_reader(site.data) as reader:
        (event,) = reader.trace(old.id).events
        assert isinstance(event, OperatorAction)
        assert event.action == RELEASED


def test_drop_asks_first_and_records_it(run: Run, site: ConfigDir, new: NewMessage) -> None:
    assert run("quarantine", "drop", "--hook", "virus", stdin="n\n").code != 0
    assert new.id in listed(run)
    said = run("quarantine", "drop", "--hook", "virus", "--yes", "--json").json
    assert said == {"dry_run": False, "changed": 1, "messages": [new.id]}
    assert new.id not in listed(run)
    with open_reader(site.data) as reader:
        (event,) = reader.trace(new.id).events
        assert isinstance(event, OperatorAction)
        assert event.action == DROPPED


def test_all_is_said_or_nothing_is_done(run: Run) -> None:
    assert run("quarantine", "release").code == EXIT_USAGE
    assert run("quarantine", "release", "--all", "--hook", "spam").code == EXIT_USAGE
    assert run("quarantine", "release", "--all").out == "2 messages released\n"


def test_export_and_import_keep_it_in_quarantine(
    run: Run, site: ConfigDir, tmp_path: Path, old: NewMessage
) -> None:
    folder = tmp_path / "files"
    assert (
        run("quarantine", "export", old.id, str(folder)).out == f"1 message written to {folder}\n"
    )
    run("quarantine", "drop", "--yes", old.id)
    assert run("queue", "import", "--again", str(folder)).out == "1 message imported\n"
    assert old.id in listed(run)


def test_status_counts_it(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: ANSWER):
        said = run("status").out
    assert "\nqueue: 1 message, " in said
    assert "\nquarantine: 2 messages, 42 B, the oldest there for 3h" in said
    with fake_server(site, lambda _: ANSWER):
        document = run("status", "--json").json
    assert (document["quarantine"]["messages"], document["queue"]["messages"]) == (2, 1)
