"""`relevo explain`: the way of an address, and an exit code that says whether mail is taken."""

from __future__ import annotations

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_NO
from unit.cli.invoking import Run


@pytest.fixture(autouse=True)
def aliases(site: ConfigDir) -> None:
    site.write_aliases("d1.test", "info: user\nloop: loop2\nloop2: loop\n")


def test_an_alias_is_followed_to_the_user(run: Run) -> None:
    outcome = run("explain", "info@d1.test")
    assert outcome.code == 0
    assert "RCPT: 250" in outcome.out
    assert "user@d1.test  (final)" in outcome.out


def test_an_address_of_nobody_is_a_no(run: Run) -> None:
    outcome = run("explain", "nobody@d1.test")
    assert outcome.code == EXIT_NO
    assert "RCPT: 550 5.1.1" in outcome.out
    assert outcome.out.count("aliases of d1.test: nobody → nothing\n") == 1


def test_hooks_are_named_only_where_there_are_some(run: Run, site: ConfigDir) -> None:
    assert "alias-resolve" not in run("explain", "info@d1.test").out
    hook = site.path / "hooks" / "alias-resolve"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho user\n")
    hook.chmod(0o755)
    assert "alias-resolve: team@d1.test → user@d1.test" in run("explain", "team@d1.test").out


def test_an_alias_that_leads_nowhere_is_a_no(run: Run) -> None:
    outcome = run("explain", "loop@d1.test")
    assert outcome.code == EXIT_NO
    assert "PROBLEM: a loop" in outcome.out
    assert "a message for it is answered 451" in outcome.out


def test_an_address_elsewhere_says_who_may_send_there(run: Run) -> None:
    outcome = run("explain", "ann@example.net")
    assert outcome.code == 0
    assert "only users who have logged in may send there" in outcome.out
