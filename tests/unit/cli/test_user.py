"""`relevo user`: changes the files that the server reads, and says what it did."""

from __future__ import annotations

import pytest

from harness.config_dir import ConfigDir
from relevo.authn import verify
from relevo.cli.options import EXIT_CONFIG, EXIT_NO, EXIT_USAGE
from relevo.directory.users import Credential, Denied, parse_users
from unit.cli.invoking import Run


def users(site: ConfigDir, domain: str = "d1.test") -> dict[str, Credential]:
    path = site.path / "domains" / domain / "users"
    return dict(parse_users(path.read_bytes(), path=path))


def test_add_makes_a_user_who_can_log_in(run: Run, site: ConfigDir) -> None:
    outcome = run("user", "add", "New@D1.test", "--password-stdin", stdin="secret\n")
    assert (outcome.code, outcome.out) == (0, "added new@d1.test\n")
    assert verify(users(site)["new"], b"secret", user="new")


def test_add_keeps_the_other_users(run: Run, site: ConfigDir) -> None:
    run("user", "add", "new@d1.test", "--password-stdin", stdin="secret\n")
    assert set(users(site)) == {"user", "juan", "rx", "new"}


def test_add_of_a_user_who_exists_changes_the_password(run: Run, site: ConfigDir) -> None:
    outcome = run("user", "add", "user@d1.test", "--password-stdin", stdin="other\n")
    assert outcome.out == "changed user@d1.test\n"
    assert verify(users(site)["user"], b"other", user="user")
    assert not verify(users(site)["user"], b"secret", user="user")


def test_add_makes_a_missing_domain_and_says_so(run: Run, site: ConfigDir) -> None:
    outcome = run("user", "add", "ada@New.test", "--password-stdin", stdin="x\n")
    folder = site.path / "domains" / "new.test"
    assert outcome.out == f"made the domain new.test ({folder})\nadded ada@new.test\n"
    assert set(users(site, "new.test")) == {"ada"}


def test_add_finds_a_domain_whose_folder_has_another_form(run: Run, site: ConfigDir) -> None:
    (site.path / "domains" / "xn--bcher-kva.test").mkdir()
    outcome = run("user", "add", "ada@bücher.test", "--password-stdin", stdin="x\n")
    assert outcome.out == "added ada@bücher.test\n"
    assert set(users(site, "xn--bcher-kva.test")) == {"ada"}


def test_add_asks_twice(run: Run, site: ConfigDir) -> None:
    outcome = run("user", "add", "new@d1.test", stdin="one\nother\nsame\nsame\n")
    assert outcome.code == 0
    assert "do not match" in outcome.err
    assert verify(users(site)["new"], b"same", user="new")


def test_a_user_who_only_receives_cannot_log_in(run: Run, site: ConfigDir) -> None:
    assert run("user", "add", "box@d1.test", "--receive-only").code == 0
    assert users(site)["box"] == Denied()


def test_a_password_may_hold_blanks_and_any_characters(run: Run, site: ConfigDir) -> None:
    run("user", "add", "new@d1.test", "--password-stdin", stdin=" a ü\t\r\n")
    assert verify(users(site)["new"], " a ü\t".encode(), user="new")


@pytest.mark.parametrize(
    ("words", "stdin", "text"),
    [
        pytest.param(("nobody",), "", "must have the form user@domain", id="no domain"),
        pytest.param(("a b@d1.test",), "", "not allowed", id="user name"),
        pytest.param(("a@-x-.test",), "", "not a domain name", id="domain name"),
        pytest.param(("a@d1.test", "--password-stdin"), "\n", "no password", id="empty"),
        pytest.param(("a@d1.test", "--password-stdin"), "x" * 1025, "longer than", id="long"),
        pytest.param(
            ("a@d1.test", "--password-stdin", "--receive-only"), "x", "takes no password", id="both"
        ),
    ],
)
def test_what_add_refuses_changes_nothing(
    run: Run, site: ConfigDir, words: tuple[str, ...], stdin: str, text: str
) -> None:
    before = users(site)
    outcome = run("user", "add", *words, stdin=stdin)
    assert outcome.code == EXIT_USAGE
    assert text in outcome.err
    assert users(site) == before


def test_a_damaged_users_file_is_named_and_kept(run: Run, site: ConfigDir) -> None:
    path = site.path / "domains" / "d1.test" / "users"
    path.write_text("users: {\n")
    outcome = run("user", "add", "a@d1.test", "--password-stdin", stdin="x\n")
    assert outcome.code == EXIT_CONFIG
    assert outcome.err.startswith(f"relevo: {path}:")
    assert path.read_text() == "users: {\n"


def test_remove(run: Run, site: ConfigDir) -> None:
    assert run("user", "remove", "juan@d1.test").out == "removed juan@d1.test\n"
    assert set(users(site)) == {"user", "rx"}


@pytest.mark.parametrize("address", ["nobody@d1.test", "user@elsewhere.test"])
def test_remove_of_nobody_is_a_no(run: Run, address: str) -> None:
    outcome = run("user", "remove", address)
    assert outcome.code == EXIT_NO
    assert outcome.err == f"relevo: there is no user {address}\n"


def test_list_notes_who_is_special(run: Run) -> None:
    run("user", "add", "ada@a.test", "--password-stdin", stdin="x\n")
    assert run("user", "list").out.splitlines() == [
        "ada@a.test",
        "juan@d1.test  (password in plain text)",
        "rx@d1.test  (receives only)",
        "user@d1.test  (password in plain text)",
    ]


def test_list_of_one_domain_as_json(run: Run) -> None:
    run("user", "add", "ada@a.test", "--password-stdin", stdin="x\n")
    assert run("user", "list", "A.test", "--json").json == [
        {"user": "ada@a.test", "password": "scrypt"}
    ]


def test_list_never_shows_a_password(run: Run) -> None:
    assert "secret" not in run("user", "list").out + run("user", "list", "--json").out


def test_list_of_an_unknown_domain_is_a_no(run: Run) -> None:
    outcome = run("user", "list", "elsewhere.test")
    assert outcome.code == EXIT_NO
    assert "no domain elsewhere.test" in outcome.err


@pytest.mark.parametrize(
    ("address", "password", "code"),
    [
        ("user@d1.test", "secret", 0),
        ("USER@D1.test", "secret", 0),
        ("user@d1.test", "wrong", EXIT_NO),
        ("rx@d1.test", "", EXIT_USAGE),
        ("rx@d1.test", "any", EXIT_NO),
        ("nobody@d1.test", "any", EXIT_NO),
        ("user@elsewhere.test", "secret", EXIT_NO),
    ],
)
def test_verify(run: Run, address: str, password: str, code: int) -> None:
    assert run("user", "verify", address, "--password-stdin", stdin=password).code == code
    assert run("user", "verify", address, stdin=f"{password}\n").code == code or not password
