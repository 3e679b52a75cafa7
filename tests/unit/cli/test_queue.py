"""`relevo queue` on a queue that no server runs on."""

from __future__ import annotations

import time

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_CONFIG, EXIT_NO, EXIT_USAGE
from relevo.queue import open_reader
from relevo.queue.store import NewMessage
from unit.cli.invoking import Run
from unit.cli.servers import HOUR, fake_server, fill_queue, waiting_message

NOW = time.time()
ABSENT = "0" * 20


@pytest.fixture
def old() -> NewMessage:
    return waiting_message(now=NOW, age=3 * HOUR, detail="Connection refused")


@pytest.fixture
def new() -> NewMessage:
    return waiting_message(now=NOW, sender="", recipient="carol@bücher.example")


@pytest.fixture(autouse=True)
def queue(site: ConfigDir, old: NewMessage, new: NewMessage) -> None:
    fill_queue(site, old, new)


def listed(run: Run, *words: str) -> list[str]:
    return [entry["id"] for entry in run("queue", "list", "--json", *words).json]


def waiting(site: ConfigDir) -> set[str]:
    with open_reader(site.data) as reader:
        return {summary.id for summary in reader.messages()}


def due_now(site: ConfigDir) -> set[str]:
    with open_reader(site.data) as reader:
        return {
            summary.id
            for summary in reader.messages()
            if all(due is not None and due <= time.time() for _, due, _, _ in summary.units)
        }


def test_list_shows_oldest_first_with_recipient_route_and_error(
    run: Run, old: NewMessage, new: NewMessage
) -> None:
    outcome = run("queue", "list")
    first, recipient, attempt, second, *_ = outcome.out.splitlines()
    assert first.startswith(old.id)
    assert "3h" in first
    assert first.endswith("  alice@example.org")
    assert recipient.split("  ")[2:] == ["bob@example.net", recipient.split("  ")[-1]]
    assert "next try in" in recipient
    assert attempt.strip() == "by mx:example.net: Connection refused"
    assert second.startswith(new.id)
    assert second.endswith("  <>")
    assert outcome.err == "2 messages\n"


def test_the_list_as_json_has_everything(run: Run, old: NewMessage) -> None:
    entry = run("queue", "list", "--json").json[0]
    assert (entry["id"], entry["sender"], entry["size"]) == (old.id, "alice@example.org", 21)
    [unit] = entry["units"]
    assert (unit["route"], unit["attempts"]) == ("mx:example.net", 0)
    [recipient] = unit["recipients"]
    assert (recipient["target"], recipient["state"]) == ("bob@example.net", "pending")


@pytest.mark.parametrize(
    ("words", "which"),
    [
        (("--sender", "ALICE@example.org"), {"old"}),
        (("--sender", "<>"), {"new"}),
        (("--sender", ""), {"new"}),
        (("--recipient", "bob@EXAMPLE.net"), {"old"}),
        (("--recipient", "carol@xn--bcher-kva.example"), {"new"}),
        (("--domain", "BÜCHER.example"), {"new"}),
        (("--domain", "@example.net", "--error", "refused"), {"old"}),
        (("--domain", "ample.net"), set()),
        (("--younger-than", "2h"), {"new"}),
        (("--older-than", "2h"), {"old"}),
        (("--older-than", "1d"), set()),
        (("--error", "refused"), {"old"}),
        (("--state", "waiting"), {"old", "new"}),
        (("--state", "leased"), set()),
        (("--state", "held"), set()),
        (("--error", "refused", "--sender", "<>"), set()),
    ],
    ids=" ".join,
)
def test_filters(
    run: Run, old: NewMessage, new: NewMessage, words: tuple[str, ...], which: set[str]
) -> None:
    ids = {str(old.id): "old", str(new.id): "new"}
    assert {ids[one] for one in listed(run, *words)} == which


@pytest.mark.parametrize(
    "words",
    [
        ("queue", "list", "--older-than", "soon"),
        ("queue", "list", "--state", "lost"),
        ("queue", "retry"),
        ("queue", "drop", "--yes"),
        ("queue", "retry", "--all", "--sender", "<>"),
        ("queue", "drop", "--all", ABSENT),
    ],
    ids=" ".join,
)
def test_wrong_usage_changes_nothing(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage, words: tuple[str, ...]
) -> None:
    assert run(*words).code == EXIT_USAGE
    assert waiting(site) == {old.id, new.id}
    assert due_now(site) == set()


def test_show_tells_everything_about_a_message(run: Run, old: NewMessage) -> None:
    out = run("queue", "show", old.id.upper()).out
    for text in (old.id, "alice@example.org", "21 B", "bob@example.net", "Connection refused"):
        assert text in out


def test_show_as_json(run: Run, old: NewMessage) -> None:
    assert run("queue", "show", old.id, "--json").json["id"] == old.id


def test_show_content_prints_the_message_as_stored(run: Run, old: NewMessage) -> None:
    octets = run("queue", "show", old.id, "--content").octets
    assert octets == b"Subject: x\r\n\r\nHello\r\n"


def test_show_of_what_is_gone_points_to_its_trace(run: Run) -> None:
    outcome = run("queue", "show", ABSENT)
    assert outcome.code == EXIT_NO
    assert f"relevo trace {ABSENT}" in outcome.err


def test_retry_makes_a_message_due(run: Run, site: ConfigDir, old: NewMessage) -> None:
    assert run("queue", "retry", old.id).out == "1 message made due now\n"
    assert due_now(site) == {old.id}


def test_retry_all(run: Run, site: ConfigDir, old: NewMessage, new: NewMessage) -> None:
    assert run("queue", "retry", "--all").out == "2 messages made due now\n"
    assert due_now(site) == {old.id, new.id}


def test_retry_by_filter(run: Run, site: ConfigDir, old: NewMessage) -> None:
    run("queue", "retry", "--error", "connection")
    assert due_now(site) == {old.id}


def test_ids_and_filters_must_both_fit(run: Run, site: ConfigDir, new: NewMessage) -> None:
    assert run("queue", "retry", new.id, "--error", "refused").code == EXIT_NO
    assert due_now(site) == set()


def test_a_running_server_is_woken(run: Run, site: ConfigDir, old: NewMessage) -> None:
    with fake_server(site, lambda _: {}) as asked:
        run("queue", "retry", old.id)
    assert asked == ["wake"]


def test_what_is_held_is_retried_only_when_it_is_meant(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage
) -> None:
    assert run("queue", "hold", "--sender", "alice@example.org").out == "1 message held\n"
    assert listed(run, "--state", "held") == [old.id]
    assert "held until `relevo queue release`" in run("queue", "show", old.id).out
    run("queue", "retry", "--all")
    assert due_now(site) == {new.id}
    run("queue", "retry", old.id)
    assert due_now(site) == {old.id, new.id}


def test_released_messages_are_due(run: Run, site: ConfigDir, old: NewMessage) -> None:
    run("queue", "hold", "--all")
    assert run("queue", "release", old.id).out == "1 message released\n"
    assert due_now(site) == {old.id}


def test_what_was_done_as_json(run: Run, old: NewMessage, new: NewMessage) -> None:
    planned = run("queue", "hold", "--all", "--dry-run", "--json").json
    assert planned == {"dry_run": True, "changed": 0, "messages": [old.id, new.id]}
    done = run("queue", "drop", "--sender", "<>", "--yes", "--json").json
    assert done == {"dry_run": False, "changed": 1, "messages": [new.id]}


@pytest.mark.parametrize("command", ["retry", "hold", "release", "drop"])
def test_a_dry_run_only_says_which(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage, command: str
) -> None:
    outcome = run("queue", command, "--dry-run", "--older-than", "1h")
    assert outcome.code == 0
    assert old.id in outcome.out
    assert "1 message would be" in outcome.out
    assert waiting(site) == {old.id, new.id}
    assert due_now(site) == set()


@pytest.mark.parametrize(("answer", "is_kept"), [("y\n", False), ("n\n", True), ("", True)])
def test_drop_asks_first(
    run: Run, site: ConfigDir, old: NewMessage, answer: str, is_kept: bool
) -> None:
    outcome = run("queue", "drop", old.id, stdin=answer)
    assert old.id in outcome.out
    assert (outcome.code == 0) is not is_kept
    assert (old.id in waiting(site)) is is_kept


def test_drop_with_yes_does_not_ask(run: Run, site: ConfigDir, new: NewMessage) -> None:
    outcome = run("queue", "drop", "--sender", "alice@example.org", "--yes")
    assert outcome.out == "1 message dropped\n"
    assert waiting(site) == {new.id}


@pytest.mark.parametrize("words", [("retry",), ("hold",), ("drop", "--yes")])
def test_an_id_that_is_not_waiting_stops_the_whole(
    run: Run, site: ConfigDir, old: NewMessage, new: NewMessage, words: tuple[str, ...]
) -> None:
    outcome = run("queue", *words, old.id, ABSENT)
    assert outcome.code == EXIT_NO
    assert outcome.err == f"relevo: not in the queue: {ABSENT}\n"
    assert waiting(site) == {old.id, new.id}
    assert due_now(site) == set()


def test_without_a_queue_it_says_where_it_looked(run: Run, site: ConfigDir) -> None:
    outcome = run("queue", "list", "--set", "data_dir=elsewhere")
    assert outcome.code == EXIT_CONFIG
    assert f"{site.path}/elsewhere" in outcome.err


def test_hostile_text_does_not_reach_the_terminal(run: Run, site: ConfigDir) -> None:
    fill_queue(site, waiting_message(now=NOW, detail="550 \x1b[2Jgone\nfake line"))
    outcome = run("queue", "list")
    assert "\x1b" not in outcome.out
    assert "\nfake line" not in outcome.out


def test_summary_counts_by_destination(run: Run) -> None:
    outcome = run("queue", "summary")
    (line,) = outcome.out.splitlines()
    assert line.split()[:2] == ["2", "mx:example.net"]
    assert "next try in" in line
    entry = run("queue", "summary", "--json").json["destinations"][0]
    assert (entry["units"], entry["leased"], entry["backlog"]) == (2, 0, 0)


def test_simulate_plays_the_configured_schedule(run: Run) -> None:
    outcome = run(
        "queue", "simulate", "--set", 'queue.retry=["1h"]', "--set", "queue.give_up_after=3h"
    )
    assert "3 tries fail, one each 1h 30s" in outcome.out
    assert "given up" in outcome.out


def test_simulate_ends_with_the_delivery_where_the_destination_answers_again(run: Run) -> None:
    steps = run("queue", "simulate", "--answers-after", "6m", "--json").json
    assert [step["step"] for step in steps] == ["try_fails", "try_fails", "delivered"]
    assert steps[-1]["age"] == 420
