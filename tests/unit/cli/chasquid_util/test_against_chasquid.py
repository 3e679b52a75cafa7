"""The same command lines for chasquid-util and for `relevo chasquid-util`.

The one that Debian has may be older than the answers that are promised: compared is what all
versions share, on standard output and standard error together.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness import debian
from relevo.config.textproto import parse
from relevo.directory.users import parse_users
from unit.cli.invoking import invoke

CONF = (
    'hostname: "mx.test"\ndata_dir: "/nonexistent"\nsmtp_address: "127.0.0.1:25"\n'
    'mail_delivery_agent_args: ["-f", "\\"%from%\\"", "ñ"]\nmax_data_size_mb: 7\n'
    'suffix_separators: "+-"\ndrop_characters: ""\nmail_log_path: "<stderr>"\n'
)
NEWER_KEYS = {"max_queue_items", "give_up_send_after"}
PASSWORD = "--password=secret"

pytestmark = pytest.mark.needs_debian("chasquid")


def site(path: Path) -> Path:
    """A user `juan`, aliases of every kind."""
    domain = path / "domains" / "d1.test"
    domain.mkdir(parents=True)
    (path / "chasquid.conf").write_text(CONF)
    (domain / "aliases").write_text(
        "pp: | c x\nall: one, two@r.test, pp\none: juan\nloop: loop2\nloop2: loop\n"
    )
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return site(tmp_path / "theirs")


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return site(tmp_path / "ours")


def run_theirs(config_dir: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [debian.program("chasquid-util"), f"-C={config_dir}", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def run_ours(config_dir: Path, *words: str) -> tuple[int, str]:
    outcome = invoke(["chasquid-util", f"-C={config_dir}", *words], "")
    return outcome.code, outcome.out + outcome.err


@pytest.mark.case("C12", "C13")
@pytest.mark.parametrize(
    "words",
    [
        ("user-add", "A.B@d1.test", PASSWORD),
        (PASSWORD, "user-add", "juan@d1.test"),
        ("user-add", "new@other.test", PASSWORD),
        ("user-add", "nodomain", PASSWORD),
        ("user-add",),
        ("user-remove", "JUAN@d1.test"),
        ("user-remove", "nobody@d1.test"),
        ("user-remove", "nodomain"),
        ("authenticate", "Juan@d1.test", PASSWORD),
        ("authenticate", "juan@d1.test", "--password=wrong"),
        ("authenticate", "juan@d1.test", "--password="),
        ("authenticate", "nobody@d1.test", PASSWORD),
        ("authenticate", "nodomain", PASSWORD),
    ],
    ids=" ".join,
)
def test_users_answers_are_the_same(theirs: Path, ours: Path, words: tuple[str, ...]) -> None:
    for run, config_dir in ((run_theirs, theirs), (run_ours, ours)):
        assert run(config_dir, "user-add", "juan@d1.test", PASSWORD)[0] == 0
    assert run_ours(ours, *words) == run_theirs(theirs, *words)
    for domain in ("d1.test", "other.test"):
        users = [config_dir / "domains" / domain / "users" for config_dir in (theirs, ours)]
        names = [sorted(parse_users(one.read_bytes(), path=one)) for one in users if one.exists()]
        assert len(names) != 1
        assert names == [] or names[0] == names[1]


@pytest.mark.parametrize(
    "words",
    [
        ("user-add", "a b@d1.test", PASSWORD),
        ("check-userdb", "none.test"),
        ("check-userdb", "bad.test"),
        ("user-add", "x@bad.test", PASSWORD),
        ("authenticate", "x@bad.test", PASSWORD),
        ("user-remove", "x@none.test"),
        ("authenticate", "x@none.test", PASSWORD),
        ("domaininfo-remove", "r.test"),
        ("aliases-resolve", "loop@d1.test"),
        ("unheard-of",),
        (),
    ],
    ids=" ".join,
)
def test_refusals_have_the_same_exit_code(theirs: Path, ours: Path, words: tuple[str, ...]) -> None:
    for config_dir in (theirs, ours):
        (config_dir / "domains" / "bad.test").mkdir()
        (config_dir / "domains" / "bad.test" / "users").write_text("garbage")
    assert run_ours(ours, *words)[0] == run_theirs(theirs, *words)[0] == 1


@pytest.mark.case("C14")
@pytest.mark.parametrize(
    "address", ["pp@d1.test", "all@d1.test", "ONE+tag@d1.test", "nobody@d1.test", "a@r.test"]
)
def test_aliases_resolve_to_the_same(theirs: Path, ours: Path, address: str) -> None:
    run_theirs(theirs, "user-add", "juan@d1.test", PASSWORD)
    run_ours(ours, "user-add", "juan@d1.test", PASSWORD)
    code, text = run_theirs(theirs, "aliases-resolve", address)
    lines = [line for line in text.splitlines() if line.startswith("(")]
    our_code, our_text = run_ours(ours, "aliases-resolve", address)
    assert (code, our_code) == (0, 0)
    assert sorted(our_text.splitlines()) == sorted(lines)


def test_the_configuration_in_force_is_the_same(theirs: Path, ours: Path) -> None:
    def values(text: str) -> list[tuple[str, list[object]]]:
        return [
            (field.name, [getattr(one, "data", None) or getattr(one, "text", b"")
                          for one in field.values])
            for field in parse(text.encode(), "printed").fields
            if field.name not in NEWER_KEYS
        ]  # fmt: skip

    code, text = run_theirs(theirs, "print-config")
    our_code, our_text = run_ours(ours, "print-config")
    assert (code, our_code) == (0, 0)
    assert values(our_text) == values(text)


def test_each_reads_the_users_of_the_other(theirs: Path) -> None:
    run_ours(theirs, "user-add", "of.us@d1.test", PASSWORD)
    run_theirs(theirs, "user-add", "of.them@d1.test", PASSWORD)
    for run in (run_ours, run_theirs):
        for name in ("of.us", "of.them"):
            assert run(theirs, "authenticate", f"{name}@d1.test", PASSWORD)[0] == 0
