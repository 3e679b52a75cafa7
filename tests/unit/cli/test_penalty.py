"""`relevo penalty`: sources as lines or JSON, and forgiving them."""

from __future__ import annotations

import json

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_NOT_RUNNING, EXIT_USAGE
from unit.cli.invoking import Run
from unit.cli.servers import fake_server

SOURCE = {
    "source": "192.0.2.2",
    "points": 104.2,
    "delay_seconds": 5.0,
    "refused_seconds": 61.0,
    "connections_per_minute": 3.0,
    "commands_per_minute": 0.0,
    "has_users": False,
}
LISTED: dict[str, object] = {
    "enabled": True,
    "delay_from": 20,
    "refuse_from": 100,
    "sources": [
        SOURCE,
        {**SOURCE, "source": "2001:db8::/64", "points": 40.0, "refused_seconds": 0.0,
         "delay_seconds": 0.31, "has_users": True},
        {**SOURCE, "source": "192.0.2.3", "points": 2.0, "refused_seconds": 0.0,
         "delay_seconds": 0.0},
    ],
    "more": 7,
}  # fmt: skip


def test_each_source_is_a_line(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: LISTED) as asked:
        outcome = run("penalty", "list")
    assert asked == ["penalty list"]
    assert outcome.out.splitlines() == [
        "192.0.2.2: 104.2 points, refused for 1m 1s",
        "2001:db8::/64: 40 points, answers delayed by 0.31 s, users log in from there",
        "192.0.2.3: 2 points",
        "and 7 sources more",
    ]


def test_json_is_what_the_server_says(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: LISTED):
        assert json.loads(run("penalty", "list", "--json").out) == LISTED


def test_nothing_to_list(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: {**LISTED, "enabled": False, "sources": [], "more": 0}):
        outcome = run("penalty", "list")
    assert outcome.out == "penalties are off (penalties.enabled)\nno source has points\n"


def test_clearing(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: {"cleared": 1, "source": "192.0.2.2"}) as asked:
        assert run("penalty", "clear", "192.0.2.2").out == "cleared: 192.0.2.2\n"
    assert asked == ["penalty clear 192.0.2.2"]
    with fake_server(site, lambda _: {"cleared": 0, "source": "192.0.2.2"}):
        assert run("penalty", "clear", "192.0.2.2").out == "192.0.2.2 had no points\n"
    with fake_server(site, lambda _: {"cleared": 3}) as asked:
        assert run("penalty", "clear").out == "cleared: 3 sources\n"
    assert asked == ["penalty clear"]


def test_what_is_no_address(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: {"error": "'x' is no IP address"}):
        outcome = run("penalty", "clear", "x")
    assert outcome.code == EXIT_USAGE
    assert "'x' is no IP address" in outcome.err


def test_nobody_to_ask(run: Run) -> None:
    assert run("penalty", "list").code == EXIT_NOT_RUNNING
