"""`relevo alias`: what the files say, and where an address ends up."""

from __future__ import annotations

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_CONFIG, EXIT_NO, EXIT_USAGE
from unit.cli.invoking import Run

ALIASES = """\
sales: user, eve@elsewhere.test via mx1/mx2
team: sales, juan
store: | /bin/store --box main
loop: loop2
loop2: loop
"""


@pytest.fixture(autouse=True)
def aliases(site: ConfigDir) -> None:
    site.write_aliases("d1.test", ALIASES)


def test_list_shows_the_entries_as_they_stand(run: Run) -> None:
    assert run("alias", "list").out.splitlines() == [
        "loop@d1.test  (mail) loop2@d1.test",
        "loop2@d1.test  (mail) loop@d1.test",
        "sales@d1.test  (mail) user@d1.test",
        "sales@d1.test  (via) eve@elsewhere.test via mx1,mx2",
        "store@d1.test  (pipe) /bin/store --box main",
        "team@d1.test  (mail) sales@d1.test",
        "team@d1.test  (mail) juan@d1.test",
    ]


def test_list_of_a_domain_as_json(run: Run, site: ConfigDir) -> None:
    site.write_users("d2.test", {})
    site.write_aliases("d2.test", "x: y")
    assert run("alias", "list", "D2.test", "--json").json == [
        {"alias": "x@d2.test", "targets": [{"kind": "mail", "address": "y@d2.test"}]}
    ]


def test_list_of_an_unknown_domain_is_a_no(run: Run) -> None:
    assert run("alias", "list", "elsewhere.test").code == EXIT_NO


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        pytest.param("user@d1.test", ["(mail) user@d1.test"], id="user"),
        pytest.param("Us.er+tag@D1.test", ["(mail) user@d1.test"], id="suffix"),
        pytest.param(
            "team@d1.test",
            [
                "(mail) juan@d1.test",
                "(mail) user@d1.test",
                "(via) eve@elsewhere.test via mx1,mx2",
            ],
            id="nested",
        ),
        pytest.param("store@d1.test", ["(pipe) /bin/store --box main"], id="pipe"),
        pytest.param("far@elsewhere.test", ["(mail) far@elsewhere.test"], id="not ours"),
    ],
)
def test_resolve_gives_final_targets(run: Run, address: str, lines: list[str]) -> None:
    outcome = run("alias", "resolve", address)
    assert outcome.code == 0
    assert sorted(outcome.out.splitlines()) == lines


def test_resolve_as_json(run: Run) -> None:
    assert run("alias", "resolve", "sales@d1.test", "--json").json == [
        {"kind": "mail", "address": "user@d1.test"},
        {"kind": "via", "address": "eve@elsewhere.test", "servers": ["mx1", "mx2"]},
    ]
    assert run("alias", "resolve", "store@d1.test", "--json").json == [
        {"kind": "pipe", "command": ["/bin/store", "--box", "main"]}
    ]


def test_an_address_that_goes_nowhere_is_a_no(run: Run) -> None:
    outcome = run("alias", "resolve", "nobody@d1.test")
    assert (outcome.code, outcome.out) == (EXIT_NO, "")
    assert outcome.err == "relevo: nobody@d1.test is no user and no alias\n"


def test_a_loop_is_a_no_with_its_reason(run: Run) -> None:
    outcome = run("alias", "resolve", "loop@d1.test")
    assert outcome.code == EXIT_NO
    assert "loop@d1.test" in outcome.err


@pytest.mark.parametrize("address", ["user", "@d1.test", ""])
def test_what_is_no_address_is_wrong_usage(run: Run, address: str) -> None:
    assert run("alias", "resolve", address).code == EXIT_USAGE


@pytest.mark.parametrize("words", [("list",), ("resolve", "user@d1.test")])
def test_a_bad_line_is_named(run: Run, site: ConfigDir, words: tuple[str, ...]) -> None:
    site.write_aliases("d1.test", "fine: user\nbroken\n")
    outcome = run("alias", *words)
    assert outcome.code == EXIT_CONFIG
    assert "domains/d1.test/aliases:2: " in outcome.err
