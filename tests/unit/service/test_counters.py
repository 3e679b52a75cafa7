"""Counters add up over workers."""

from dataclasses import replace

from relevo.journal import Accepted, Attempted, Authenticated, Outcome, Rejected
from relevo.service.counters import FAMILIES, Counters
from relevo.smtp.states import Verb

ACCEPTED = Accepted(0.0, "id", "127.0.0.1:1", "<>", ("a@b.test",), 10)
REJECTED = Rejected(0.0, "127.0.0.1:1", None, (), 500, "5.5.1", "no")


def attempted(outcome: Outcome) -> Attempted:
    return Attempted(0.0, "id", "<>", "a@b.test", "a@b.test", outcome, "local")


def test_events_count_by_kind_and_workers_are_added_up() -> None:
    counters = Counters(2)
    counters.count(0, ACCEPTED)
    counters.count(1, ACCEPTED)
    counters.count(1, REJECTED)
    counters.count(0, attempted(Outcome.DELIVERED))
    counters.count(0, attempted(Outcome.TEMPORARY))
    counters.count(0, attempted(Outcome.PERMANENT))
    counters.count(0, Authenticated(0.0, "127.0.0.1:1", "u@d.test", succeeded=True))
    counters.count(0, Authenticated(0.0, "127.0.0.1:1", "u@d.test", succeeded=False))
    sums = counters.read()
    assert sums["accepted"] == 2
    assert sums["rejected"] == sums["delivered"] == sums["deferred"] == sums["failed"] == 1
    assert sums["logins"] == sums["failed_logins"] == 1
    assert counters.read_row(1)["accepted"] == 1


def test_the_loop_lag_is_the_largest_of_all() -> None:
    counters = Counters(2)
    counters.raise_to(0, "loop_held_us", 300)
    counters.raise_to(0, "loop_held_us", 100)
    counters.raise_to(1, "loop_held_us", 200)
    assert counters.read()["loop_held_us"] == 300


def test_what_has_no_cell_of_its_own_is_counted_under_the_last_label() -> None:
    counters = Counters(2)
    command, reply = counters.command_counter(1), counters.reply_counter(1)
    for verb in (b"MAIL", b"MAIL", b"XYZ", b"GET"):
        command(verb)
    for code in (250, 250, 421, 999):
        reply(code)
    counters.add_to(0, "spf", "pass")
    counters.add_to(1, "spf", "pass")
    counters.add_to(1, "handshakes", "TLS-9")
    commands = counters.read_family("commands")
    assert {verb: number for verb, number in commands.items() if number} == {
        "MAIL": 2,
        "GET": 1,
        "unknown": 1,
    }
    replies = counters.read_family("replies")
    assert {code: number for code, number in replies.items() if number} == {
        "250": 2,
        "421": 1,
        "other": 1,
    }
    assert counters.read_family("spf")["pass"] == 2
    assert counters.read_family("handshakes")["other"] == 1


def test_attempts_are_counted_by_route_and_outcome() -> None:
    counters = Counters(1)
    for route in ("mx:a.test", "mx:b.test", "pigeon"):
        event = Attempted(0.0, "id", "<>", "a@b.test", "a@b.test", Outcome.TEMPORARY, route)
        counters.count(0, event)
    attempts = counters.read_family("attempts")
    assert (attempts["mx temporary"], attempts["other temporary"]) == (2, 1)


def test_gauges_are_of_one_row() -> None:
    counters = Counters(2)
    counters.put(1, "is_ready", 1)
    counters.put(1, "pid", 77)
    assert [(gauges["is_ready"], gauges["pid"]) for gauges in counters.read_gauges()] == [
        (0, 0),
        (1, 77),
    ]


def test_messages_by_transport_leave_out_our_own_notifications() -> None:
    counters = Counters(1)
    counters.count(0, ACCEPTED)
    counters.count(0, replace(ACCEPTED, tls="TLS-1.3 X"))
    counters.count(0, replace(ACCEPTED, client=""))
    counters.count(0, replace(REJECTED, code=554, enhanced="5.4.6"))
    assert counters.read_family("messages") == {"tls": 1, "plain": 1}
    assert counters.read_family("loops") == {"loops": 1}


def test_every_verb_of_the_protocol_has_a_label() -> None:
    assert {verb.value for verb in Verb} <= set(FAMILIES["commands"])
