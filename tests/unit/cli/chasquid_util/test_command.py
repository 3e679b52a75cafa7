"""`relevo chasquid-util` on a directory of chasquid."""

from __future__ import annotations

import base64
import getpass
import re
import time
from pathlib import Path
from typing import Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

from relevo.config import load
from relevo.config.textproto import parse
from relevo.directory.users import Denied, parse_users
from relevo.queue import create_database
from relevo.queue.levels_by_hand import KnownLevels, raise_levels
from unit.cli.invoking import Outcome, invoke


class Util(Protocol):
    def __call__(self, *words: str) -> Outcome: ...


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """Without users: a chasquid.conf, a domain, a folder of certificates."""
    (tmp_path / "domains" / "d1.test").mkdir(parents=True)
    (tmp_path / "chasquid.conf").write_text('hostname: "mx.test"\ndata_dir: "data"\n')
    return tmp_path


@pytest.fixture
def util(config_dir: Path) -> Util:
    def run(*words: str) -> Outcome:
        return invoke(["chasquid-util", f"-C={config_dir}", *words])

    return run


def users(config_dir: Path, domain: str = "d1.test") -> dict[str, object]:
    path = config_dir / "domains" / domain / "users"
    return dict(parse_users(path.read_bytes(), path=path))


def said(outcome: Outcome) -> tuple[int, str, str]:
    return outcome.code, outcome.out, outcome.err


# -- users


@pytest.mark.case("C12")
def test_a_user_is_added_under_the_normalized_name(util: Util, config_dir: Path) -> None:
    assert said(util("user-add", "A.B@d1.test", "--password=x")) == (0, "Added user\n", "")
    assert list(users(config_dir)) == ["a.b"]
    assert (config_dir / "domains/d1.test/users").stat().st_mode & 0o777 == 0o660


def test_a_new_domain_is_made_in_its_normal_form(util: Util, config_dir: Path) -> None:
    outcome = util("user-add", "z@UPPER.test", "--password=x")
    assert said(outcome) == (0, "Creating database\nAdded user\n", "")
    assert (config_dir / "domains" / "upper.test").stat().st_mode & 0o777 == 0o755
    assert said(util("user-add", "y@Upper.Test", "--password=x")) == (0, "Added user\n", "")
    assert list(users(config_dir, "upper.test")) == ["y", "z"]


def test_a_user_is_replaced(util: Util) -> None:
    util("user-add", "u@d1.test", "--password=old")
    util("user-add", "u@d1.test", "--password=new")
    assert util("authenticate", "u@d1.test", "--password=old").code == 1
    assert util("authenticate", "u@d1.test", "--password=new").code == 0


def test_options_may_stand_anywhere(util: Util, config_dir: Path) -> None:
    words = ["chasquid-util", "--password=x", "user-add", f"--config_dir={config_dir}", "u@d1.test"]
    assert said(invoke(words)) == (0, "Added user\n", "")
    assert util("--password=x", "authenticate", "--whatever", "u@d1.test").code == 0


def test_who_receives_only_has_no_password(util: Util, config_dir: Path) -> None:
    assert said(util("user-add", "rx@d1.test", "--receive_only")) == (0, "Added user\n", "")
    assert users(config_dir) == {"rx": Denied()}
    assert util("authenticate", "rx@d1.test", "--password=").code == 1
    outcome = util("user-add", "rx@d1.test", "--receive_only", "--password=x")
    refusal = "Cannot specify both --receive_only and --password\n"
    assert said(outcome) == (1, "", refusal)


@pytest.mark.parametrize("command", ["user-add", "user-remove", "authenticate"])
@pytest.mark.parametrize("name", ["", "nobody"])
def test_a_name_without_domain_is_refused(util: Util, command: str, name: str) -> None:
    expected = "Domain missing, username should be of the form 'user@domain'\n"
    assert said(util(command, name, "--password=x")) == (1, "", expected)


@pytest.mark.parametrize("name", ["a b@d1.test", "@d1.test", "a@-.test", "a@b@d1.test"])
def test_a_name_that_cannot_be_is_refused(util: Util, config_dir: Path, name: str) -> None:
    outcome = util("user-add", name, "--password=x")
    assert outcome.code == 1
    assert outcome.err.startswith("Error normalizing user: ")
    assert not (config_dir / "domains/d1.test/users").exists()


def test_a_user_is_removed_once(util: Util, config_dir: Path) -> None:
    util("user-add", "u@d1.test", "--password=x")
    assert said(util("user-remove", "U@D1.test")) == (0, "Removed user\n", "")
    assert said(util("user-remove", "u@d1.test")) == (1, "", "Unknown user\n")
    assert said(util("user-remove", "u@none.test")) == (1, "", "Unknown user\n")


@pytest.mark.case("C13")
def test_a_password_fits_or_not(util: Util) -> None:
    util("user-add", "u@d1.test", "--password=secret")
    right = util("authenticate", "U@d1.test", "--password=secret")
    assert said(right) == (0, "Authentication succeeded\n", "")
    wrong = util("authenticate", "u@d1.test", "--password=wrong")
    assert said(wrong) == (1, "", "Authentication failed\n")
    assert util("authenticate", "nobody@d1.test", "--password=secret").code == 1
    assert util("authenticate", "u@none.test", "--password=secret").code == 1


def test_a_database_is_counted(util: Util, config_dir: Path) -> None:
    outcome = util("check-userdb", "d1.test")
    path = config_dir / "domains/d1.test/users"
    assert said(outcome) == (1, "", f'Error: file "{path}" does not exist\n')
    util("user-add", "u@d1.test", "--password=x")
    util("user-add", "v@d1.test", "--receive_only")
    assert said(util("check-userdb", "d1.test")) == (0, "Database loaded (2 users)\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("check-userdb", "d1.test"),
        ("user-add", "u@d1.test", "--password=x"),
        ("user-remove", "u@d1.test"),
        ("authenticate", "u@d1.test", "--password=x"),
    ],
    ids=lambda words: words[0],
)
def test_a_broken_database_is_left_alone(
    util: Util, config_dir: Path, words: tuple[str, ...]
) -> None:
    path = config_dir / "domains/d1.test/users"
    path.write_text("garbage")
    outcome = util(*words)
    assert outcome.code == 1
    assert outcome.err.startswith(f"Error loading database: {path}:1")
    assert path.read_text() == "garbage"


def test_a_password_is_asked_for_twice(util: Util, monkeypatch: pytest.MonkeyPatch) -> None:
    typed: list[str] = []
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return typed.pop(0)

    monkeypatch.setattr(getpass, "getpass", ask)
    monkeypatch.setattr("relevo.cli.chasquid_util.users.is_terminal", lambda: True)
    typed += ["secret", "secret"]
    assert util("user-add", "u@d1.test").code == 0
    assert asked == ["Password: ", "Confirm password: "]
    typed += ["secret", "secret"]
    assert util("authenticate", "u@d1.test").code == 0
    typed += ["secret", "other"]
    assert said(util("user-add", "u@d1.test")) == (1, "", "Passwords don't match\n")


def test_without_a_terminal_nobody_is_asked(util: Util) -> None:
    outcome = util("user-add", "u@d1.test")
    assert outcome.code == 1
    assert outcome.err.startswith("Error reading password: ")


# -- aliases, domains, configuration


@pytest.mark.case("C14")
def test_aliases_are_resolved_by_kind(util: Util, config_dir: Path) -> None:
    (config_dir / "domains/d1.test/aliases").write_text(
        "pp: | c x\nall: cmd, b@r.test, far, user\ncmd: | c x\nfar: far@r.test via s.test\n"
        "loop: loop2\nloop2: loop\n"
    )
    assert said(util("aliases-resolve", "pp@d1.test")) == (0, "(pipe)  c x\n", "")
    outcome = util("aliases-resolve", "All+tag@D1.test")
    assert outcome.out.splitlines() == [
        "(email)  b@r.test", "(email)  user@d1.test", "(forward)  far@r.test", "(pipe)  c x",
    ]  # fmt: skip
    assert said(util("aliases-resolve", "user@d1.test")) == (0, "(email)  user@d1.test\n", "")
    assert said(util("aliases-resolve", "a@r.test")) == (0, "(email)  a@r.test\n", "")
    outcome = util("aliases-resolve", "loop@d1.test")
    assert (outcome.code, outcome.err.startswith("Error resolving: ")) == (1, True)


@pytest.mark.case("C15")
def test_an_unknown_domain_has_no_level(util: Util, config_dir: Path) -> None:
    refusal = "Error removing domaininfo entry: does not exist\n"
    assert said(util("domaininfo-remove", "r.test")) == (1, "", refusal)
    create_database(config_dir / "data")
    assert said(util("domaininfo-remove", "r.test")) == (1, "", refusal)


def test_a_level_is_forgotten(util: Util, config_dir: Path) -> None:
    create_database(config_dir / "data")
    raise_levels(config_dir / "data", [KnownLevels("r.test", 1, 3)], now=time.time())
    assert said(util("domaininfo-remove", "R.test")) == (0, "", "")
    assert util("domaininfo-remove", "r.test").code == 1


def test_the_printed_configuration_says_the_same_again(util: Util, config_dir: Path) -> None:
    conf = config_dir / "chasquid.conf"
    conf.write_text(
        'hostname: "mx.test"\ndata_dir: "data"\nmax_data_size_mb: 5\n'
        'smtp_address: ":25"\nsmtp_address: "127.0.0.1:2525"\nsuffix_separators: ""\n'
        'mail_delivery_agent_args: ["a \\"b\\"", "%to%"]\nmail_log_path: "<stderr>"\n'
        'dovecot_auth: false\nmax_queue_items: 7\ngive_up_send_after: "36h30m"\n'
    )
    before = load(config_dir)
    outcome = util("print-config")
    assert outcome.code == 0
    assert outcome.out.endswith('"36h30m0s"\n\n')
    assert [field.name for field in parse(outcome.octets, "printed").fields][:5] == [
        "hostname", "max_data_size_mb", "smtp_address", "smtp_address", "submission_address",
    ]  # fmt: skip
    conf.write_text(outcome.out)
    assert load(config_dir) == before
    assert util("print-config").out == outcome.out


def test_a_configuration_that_is_wrong_is_told(util: Util, config_dir: Path) -> None:
    (config_dir / "chasquid.conf").write_text("foo: 1")
    outcome = util("print-config")
    assert outcome.code == 1
    assert outcome.err.startswith("Error loading config: ")


def test_the_old_spelling_works_with_a_warning(config_dir: Path) -> None:
    outcome = invoke(["chasquid-util", f"--configdir={config_dir}", "print-config"])
    assert outcome.code == 0
    assert outcome.out.startswith('hostname: "mx.test"\n')
    assert "--config_dir" in outcome.err


# -- DKIM


def record(text: str) -> tuple[str, str, bytes]:
    """Name, kind and key of a record as it is printed."""
    match = re.fullmatch(r'(\S+)\tTXT\t"v=DKIM1; k=(rsa|ed25519); p=([A-Za-z0-9+/=]+)"', text)
    assert match is not None
    return match[1], match[2], base64.b64decode(match[3])


@pytest.mark.parametrize(
    ("algorithm", "kind", "bits"),
    [("", "rsa", 3072), ("rsa4096", "rsa", 4096), ("ed25519", "ed25519", 0)],
)
def test_a_key_is_made_and_its_record_printed(
    util: Util, config_dir: Path, algorithm: str, kind: str, bits: int
) -> None:
    option = [f"--algo={algorithm}"] if algorithm else []
    outcome = util("dkim-keygen", "d1.test", "sel", *option)
    path = config_dir / "domains/d1.test/dkim:sel.pem"
    written, empty, line = outcome.out.splitlines()
    assert (outcome.code, written, empty) == (0, f'Key written to "{path}"', "")
    assert path.stat().st_mode & 0o777 == 0o660
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    name, found, public = record(line)
    assert (name, found) == ("sel._domainkey.d1.test", kind)
    private = load_pem_private_key(path.read_bytes(), None)
    if isinstance(private, RSAPrivateKey):
        assert private.key_size == bits
        assert load_der_public_key(public) == private.public_key()
    else:
        assert isinstance(private, Ed25519PrivateKey)
        assert public == private.public_key().public_bytes_raw()
    assert said(util("dkim-dns", "d1.test", "sel")) == (0, f"{line}\n", "")
    assert said(util("dkim-dns", "d1.test")) == (0, f"{line}\n", "")
    again = util("dkim-keygen", "d1.test", "sel", *option)
    assert said(again) == (1, "", f'Error: key already exists at "{path}"\n')


def test_without_selector_it_is_the_date(util: Util, config_dir: Path) -> None:
    util("dkim-keygen", "d1.test", "--algo=ed25519")
    (path,) = (config_dir / "domains/d1.test").glob("dkim:*.pem")
    assert re.fullmatch(r"dkim:20\d{6}\.pem", path.name)


def test_a_key_may_stand_elsewhere(util: Util, config_dir: Path) -> None:
    path = config_dir / "elsewhere.pem"
    outcome = util("dkim-keygen", "d1.test", "sel", str(path), "--algo=ed25519")
    assert outcome.code == 0
    assert path.exists()
    printed = util("dkim-dns", "d1.test", "sel", str(path))
    assert printed.out.strip() == outcome.out.splitlines()[-1]


def test_a_unicode_domain_is_ascii_in_dns(util: Util, config_dir: Path) -> None:
    (config_dir / "domains" / "bücher.test").mkdir()
    outcome = util("dkim-keygen", "BÜCHER.test", "s", "--algo=ed25519")
    assert outcome.out.splitlines()[-1].startswith("s._domainkey.xn--bcher-kva.test\t")


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("dkim-keygen",), "Error: missing domain parameter"),
        (("dkim-dns",), "Error: missing domain parameter"),
        (("dkim-keygen", "d1.test", "s", "--algo=dsa"), 'Error: unsupported algorithm "dsa"'),
        (("dkim-keygen", "new.test", "s", "--algo=ed25519"), "Error creating key file "),
        (("dkim-dns", "d1.test"), "No DKIM keys found in "),
        (("dkim-dns", "new.test"), "No DKIM keys found in "),
        (("dkim-dns", "d1.test", "s"), "Error reading key "),
        (("dkim-keygen", "d1.test", "../../s"), "Error: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_dkim_refusals(util: Util, words: tuple[str, ...], refusal: str) -> None:
    outcome = util(*words)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(refusal)


# -- the command line


@pytest.mark.parametrize("words", [(), ("bogus",), ("user-list", "x")])
def test_what_is_no_command_is_told_with_the_usage(words: tuple[str, ...]) -> None:
    outcome = invoke(["chasquid-util", *words])
    assert outcome.code == 1
    assert outcome.err.startswith(f'Unknown argument "{words[0] if words else ""}"\n\nUsage: ')
