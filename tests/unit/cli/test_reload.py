"""`relevo reload`: done, refused with reasons, or nobody there."""

from __future__ import annotations

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_CONFIG, EXIT_NOT_RUNNING
from unit.cli.invoking import Run
from unit.cli.servers import fake_server


def test_a_reload_that_was_done(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: {"problems": []}) as asked:
        outcome = run("reload")
    assert asked == ["reload"]
    assert (outcome.code, outcome.out) == (0, "reloaded\n")


def test_what_a_reload_cannot_take_up_is_named(run: Run, site: ConfigDir) -> None:
    answer: dict[str, object] = {"problems": [], "restart_needed": ["listen.smtp", "server.loop"]}
    with fake_server(site, lambda _: answer):
        outcome = run("reload")
    assert outcome.code == 0
    assert outcome.out == "reloaded\na restart is needed for listen.smtp, server.loop\n"


def test_a_refused_reload_has_its_reasons(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: {"problems": ["aliases:2: bad", "users:1: bad"]}):
        outcome = run("reload")
    assert outcome.code == EXIT_CONFIG
    assert outcome.err.splitlines()[1:] == ["  aliases:2: bad", "  users:1: bad"]
    assert "stays as it was" in outcome.err


def test_nobody_to_reload(run: Run) -> None:
    assert run("reload").code == EXIT_NOT_RUNNING
