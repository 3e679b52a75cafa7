"""A source that misbehaves is slowed down and then refused, by all workers; the others are not."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.config_dir import Setting
from harness.dialog import ConnectionEnded, Dialog
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer, run_relevo

ATTACKER = "127.0.0.66"
NEIGHBOUR = "127.0.0.67"
SETTINGS: dict[str, Setting] = {
    "server.workers": 2,
    "penalties.exempt": [],
    "penalties.max_delay": "20ms",
    "penalties.refuse_for": "5m",
    "auth.failure_delay": "1ms",
}


@pytest.fixture
def server(start_relevo: RelevoFactory) -> RelevoServer:
    return start_relevo(settings=SETTINGS)


def penalty(server: RelevoServer, reaper: Reaper, *arguments: str) -> str:
    folder = server.config.path
    process = run_relevo(reaper, "penalty", *arguments, "-C", folder, folder=folder)
    assert process.popen.returncode == 0, process.output()
    return process.output()


def greeting(server: RelevoServer, source: str) -> str:
    with Dialog(server.smtp, source=source) as client:
        return str(client.greeting)


def guess_recipients(server: RelevoServer, source: str, number: int, before: str = "") -> int:
    """Ask for unknown users until so many were refused or the door is closed; how many were.

    `before`: a command in front of everything.
    """
    refused = 0
    while refused < number:
        with suppress(ConnectionEnded), Dialog(server.smtp, source=source) as client:
            if client.greeting.code == 421:
                break
            client.expect(250, "EHLO client.test")
            if before:
                if client.command(before).code == 421:
                    break
                client.expect(250, "EHLO client.test")
            client.expect(250, "MAIL FROM:<a@r.test>")
            for _ in range(10):  # more would be slowed down whoever asks
                if client.command(f"RCPT TO:<guess{refused}@d1.test>").code != 550:
                    break
                refused += 1
    return refused


def test_a_dictionary_attack_is_shut_out_while_others_are_served(
    server: RelevoServer, reaper: Reaper
) -> None:
    refused = guess_recipients(server, ATTACKER, 500)
    assert 40 <= refused <= 80
    for _ in range(20):  # whichever worker takes them
        assert greeting(server, ATTACKER).startswith("421 4.7.0 Try again later: too many errors")
        assert greeting(server, NEIGHBOUR).startswith("220 ")
    with Dialog(server.smtp, source=NEIGHBOUR) as client:
        client.envelope("a@r.test", "user@d1.test")
        assert client.message(b"Subject: x\r\n\r\nx\r\n").code == 250
    listed = json.loads(penalty(server, reaper, "list", "--json"))
    [source] = [entry for entry in listed["sources"] if entry["source"] == ATTACKER]
    assert source["points"] > 90
    assert 200 < source["refused_seconds"] <= 300
    log = server.process.output()
    assert log.count(f"{ATTACKER}: connections are refused for 300 s") == 1
    assert f"{ATTACKER}: points" not in log

    assert penalty(server, reaper, "clear", ATTACKER) == f"cleared: {ATTACKER}\n"
    assert greeting(server, ATTACKER).startswith("220 ")
    assert "no source has points" in penalty(server, reaper, "list")
    assert f"{ATTACKER}: points cleared" in server.process.output()


def test_password_guessing_is_shut_out_but_users_at_the_same_address_are_not(
    start_relevo: RelevoFactory, reaper: Reaper
) -> None:
    server = start_relevo(settings={**SETTINGS, "penalties.auth_failure": 25})

    def log_in(source: str, password: str) -> int:
        with Dialog(server.submission_tls, tls=True, source=source) as client:
            client.expect(250, "EHLO client.test")
            return client.log_in("user@d1.test", password).code

    office, botnet = "127.0.0.70", "127.0.0.71"
    assert log_in(office, "secret") == 235
    guesses = 0
    with suppress(ConnectionEnded, OSError):
        for guesses in range(20):
            assert log_in(botnet, f"guess{guesses}") == 535
    assert 4 <= guesses <= 6
    for number in range(10):
        assert log_in(office, f"guess{number}") == 535
    assert log_in(office, "secret") == 235, "a user beside whoever guesses"
    assert greeting(server, office).startswith("421 "), "but mail from there waits"
    text = penalty(server, reaper, "list")
    assert f"{office}: " in text
    assert "users log in from there" in text
    assert penalty(server, reaper, "clear") == "cleared: 2 sources\n"
    assert log_in(botnet, "guess") == 535


def test_the_client_that_a_proxy_names_is_the_one_that_counts(
    start_relevo: RelevoFactory, reaper: Reaper
) -> None:
    server = start_relevo(settings={**SETTINGS, "xclient.trusted": ["127.0.0.0/8"]})
    refused = guess_recipients(server, "", 500, "XCLIENT ADDR=192.0.2.66")
    assert 40 <= refused <= 80
    with Dialog(server.smtp) as client:
        assert client.greeting.code == 220, "the proxy itself is not refused"
        client.expect(250, "EHLO proxy.test")
        assert client.command("XCLIENT ADDR=192.0.2.66").code == 421
    with Dialog(server.smtp) as client:
        client.expect(250, "EHLO proxy.test")
        client.expect(220, "XCLIENT ADDR=192.0.2.67")
    assert [entry["source"] for entry in json.loads(penalty(server, reaper, "list", "--json"))[
        "sources"]] == ["192.0.2.66"]  # fmt: skip


def test_answers_to_a_suspicious_source_are_held_back(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={**SETTINGS, "penalties.max_delay": "3200ms"})
    assert guess_recipients(server, ATTACKER, 20) == 20  # 40 points: a quarter of the way
    started = time.monotonic()
    assert greeting(server, ATTACKER).startswith("220 ")
    slow = time.monotonic() - started
    assert slow >= 0.15
    started = time.monotonic()
    assert greeting(server, NEIGHBOUR).startswith("220 ")
    assert time.monotonic() - started < slow


def test_an_address_that_is_none_is_named(server: RelevoServer, reaper: Reaper) -> None:
    folder: Path = server.config.path
    process = run_relevo(reaper, "penalty", "clear", "mx.test", "-C", folder, folder=folder)
    assert process.popen.returncode == 2
    assert "'mx.test' is no IP address" in process.output()
