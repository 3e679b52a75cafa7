"""`relevo tls-level`: levels of domains, listed and forgotten."""

from __future__ import annotations

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_NO, EXIT_USAGE
from relevo.queue import create_database
from relevo.queue.levels_by_hand import KnownLevels, raise_levels
from unit.cli.invoking import Run

NOW = 1_800_000_000.0


@pytest.fixture
def levels(site: ConfigDir) -> None:
    create_database(site.data)
    known = (
        KnownLevels("a.test", 1, 0),
        KnownLevels("b.test", 0, 2),
        KnownLevels("xn--bcher-kva.test", 0, 3),
    )
    raise_levels(site.data, known, now=NOW)


@pytest.mark.usefixtures("levels")
def test_list(run: Run) -> None:
    outcome = run("tls-level", "list")
    words = [line.split()[:5] for line in outcome.out.splitlines()]
    assert words == [
        ["a.test", "to:", "none", "from:", "tls"],
        ["b.test", "to:", "tls", "from:", "none"],
        ["xn--bcher-kva.test", "to:", "verified", "from:", "none"],
    ]
    assert outcome.err == "3 domains\n"
    (only,) = run("tls-level", "list", "bücher.test", "--json").json
    assert only == {
        "domain": "xn--bcher-kva.test", "outgoing": "verified", "incoming": "none", "seen": NOW,
    }  # fmt: skip


@pytest.mark.usefixtures("levels")
def test_clear(run: Run) -> None:
    assert run("tls-level", "clear", "BÜCHER.test", "b.test").code == 0
    assert [entry["domain"] for entry in run("tls-level", "list", "--json").json] == ["a.test"]
    outcome = run("tls-level", "clear", "a.test", "b.test")
    assert (outcome.code, outcome.err) == (EXIT_NO, "relevo: nothing is known of b.test\n")
    assert run("tls-level", "list", "--json").json == []
    assert run("tls-level", "clear", "a b").code == EXIT_USAGE


def test_a_server_that_never_ran(run: Run) -> None:
    assert run("tls-level", "list", "--json").json == []
    assert run("tls-level", "clear", "a.test").code == EXIT_NO
