"""`relevo trace`: what the history knows, as lines in the order of time."""

from __future__ import annotations

import time

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_NO
from relevo.journal import Accepted, Attempted, Done, Outcome, Rejected
from relevo.queue import new_id
from unit.cli.invoking import Run
from unit.cli.servers import fill_queue

NOW = float(int(time.time()) - 100)
CLIENT = "192.0.2.1:1234"
FIRST, SECOND = new_id(NOW), new_id(NOW + 10)
ALICE, BOB = "alice@example.org", "bob@d1.test"
FIRST_EVENTS = (
    Accepted(NOW, FIRST, CLIENT, ALICE, (BOB,), 345),
    Attempted(NOW + 1, FIRST, ALICE, BOB, BOB, Outcome.DELIVERED, "maildir"),
    Done(NOW + 2, FIRST, ALICE),
)
SECOND_EVENTS = (Accepted(NOW + 10, SECOND, CLIENT, ALICE, ("carol@d1.test",), 10),)
REJECTED = Rejected(NOW + 5, CLIENT, ALICE, ("nobody@d1.test",), 550, "5.1.1", "No such user")
AT_THE_SAME_TIME = Rejected(
    NOW + 5, CLIENT, "mallory@x.test", ("root@d1.test",), 550, "5.7.1", "No"
)


@pytest.fixture(autouse=True)
def history(site: ConfigDir) -> None:
    fill_queue(site, events=(*SECOND_EVENTS, *FIRST_EVENTS, REJECTED, AT_THE_SAME_TIME))


def test_a_message_is_told_from_beginning_to_end(run: Run) -> None:
    lines = run("trace", FIRST).out.splitlines()
    assert [line.split()[2] for line in lines] == ["ACCEPTED", "DELIVERED", "DONE"]
    day = time.strftime("%Y-%m-%d", time.localtime(NOW))
    assert all(line.startswith(f"{day} ") for line in lines)


def test_letter_case_of_an_id_does_not_count(run: Run) -> None:
    assert run("trace", FIRST.upper()).out == run("trace", FIRST).out


def test_an_address_has_its_messages_and_refusals_in_order(run: Run) -> None:
    out = run("trace", "Alice@Example.org").out
    assert [line.split()[2] for line in out.splitlines() if line] == [
        "ACCEPTED", "DELIVERED", "DONE", "REJECTED", "ACCEPTED",
    ]  # fmt: skip


def test_refusals_of_others_are_left_out(run: Run) -> None:
    out = run("trace", "nobody@d1.test").out
    assert "550 5.1.1 No such user" in out
    assert "mallory" not in out


def test_limit_keeps_the_latest(run: Run) -> None:
    out = run("trace", ALICE, "--limit", "1").out
    assert SECOND in out
    assert FIRST not in out


def test_json(run: Run) -> None:
    first, refusal, second = run("trace", ALICE, "--json").json
    assert (first["message_id"], second["message_id"]) == (FIRST, SECOND)
    assert [event["kind"] for event in first["events"]] == ["accepted", "attempted", "done"]
    assert refusal["message_id"] == ""
    assert refusal["events"][0]["code"] == 550


@pytest.mark.parametrize("what", ["0" * 20, "stranger@example.org"])
def test_what_is_not_known_is_a_no(run: Run, what: str) -> None:
    outcome = run("trace", what)
    assert (outcome.code, outcome.out) == (EXIT_NO, "")
    assert outcome.err == f"relevo: the history has nothing about {what}\n"
