"""`relevo status`, from what a server answers."""

from __future__ import annotations

import time

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_NOT_RUNNING
from unit.cli.invoking import Run
from unit.cli.servers import fake_server, fill_queue, waiting_message

ANSWER: dict[str, object] = {
    "version": "1.2.3",
    "pid": 77,
    "uptime": 3661.0,
    "data_dir": "/data",
    "listeners": {"smtp": ["127.0.0.1:25", "[::1]:25"], "submission": [], "submission_tls": []},
    "workers": [
        {"pid": 78, "ready": True, "restarts": 0, "counters": {}},
        {"pid": 79, "ready": False, "restarts": 2, "counters": {}},
    ],
    "certificates": {"mx.test": time.time() + 90 * 86400 + 60, "old.test": 0.0},
    "connections": 5,
    "counters": {"accepted": 12, "failed_logins": 3, "loop_held_us": 0},
    "problems": [],
}


def test_everything_is_shown(run: Run, site: ConfigDir) -> None:
    fill_queue(site, waiting_message(now=time.time()))
    with fake_server(site, lambda _: ANSWER) as asked:
        outcome = run("status")
    assert asked == ["status"]
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "relevo 1.2.3, process 77, up 1h 1m"
    assert "listening: [::1]:25 (smtp)" in lines
    assert "worker: process 79, starting, 2 restarts" in lines
    assert "problems: none" in lines
    assert "certificate: old.test, valid until 1970-01-01 00:00:00 (expired)" in lines
    assert any(line.startswith("certificate: mx.test, valid until 20") for line in lines)
    assert "accepted: 12" in lines
    assert "failed logins: 3" in lines
    assert any(
        line.startswith("queue: 1 message, 0 being delivered, next try in") for line in lines
    )


def test_what_was_not_measured_is_not_shown(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: ANSWER):
        assert "loop" not in run("status").out


def test_problems_are_lines(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: {**ANSWER, "problems": ["aliases:2: bad"]}):
        assert "\nproblem: aliases:2: bad\n" in run("status").out


@pytest.mark.parametrize("has_queue", [True, False])
def test_json_has_the_answer_and_the_queue(run: Run, site: ConfigDir, has_queue: bool) -> None:
    if has_queue:
        fill_queue(site)
    with fake_server(site, lambda _: ANSWER):
        document = run("status", "--json").json
    assert document["pid"] == 77
    assert (document["queue"] is not None) is has_queue


def test_without_a_server_the_exit_code_says_so(run: Run, site: ConfigDir) -> None:
    outcome = run("status")
    assert (outcome.code, outcome.out) == (EXIT_NOT_RUNNING, "")
    assert f"no server is running on {site.data}" in outcome.err
