"""chasquid-util, the program and the command (rows C12–C15)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.chasquid.servers import RELEVO, Column
from harness.debian import program
from relevo.directory.users import parse_users


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code, and what was printed on both outputs (which text goes where has changed)."""

    code: int
    text: str


Util = Callable[..., Answer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "domains" / "d.test").mkdir(parents=True)
    conf = f'hostname: "mx.test"\ndata_dir: "{tmp_path}/data"\n'
    (tmp_path / "chasquid.conf").write_text(conf)
    return tmp_path


@pytest.fixture
def util(column: Column, folder: Path) -> Util:
    """Run it on the folder: util("user-add", "a@d.test")."""
    is_relevo = column is Column.RELEVO
    command = [str(RELEVO), "chasquid-util"] if is_relevo else [str(program("chasquid-util"))]

    def run(*words: str) -> Answer:
        done = subprocess.run(
            [*command, f"-C={folder}", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return Answer(done.returncode, done.stdout)

    return run


@pytest.mark.case("C12")
def test_a_user_is_added_under_its_normalized_name(util: Util, folder: Path) -> None:
    answer = util("user-add", "A.B@d.test", "--password=secret")
    assert answer.code == 0
    assert answer.text.splitlines()[-1] == "Added user"
    path = folder / "domains" / "d.test" / "users"
    assert list(parse_users(path.read_bytes(), path=path)) == ["a.b"]


@pytest.mark.case("C13")
def test_a_password_fits_or_does_not(util: Util) -> None:
    util("user-add", "u@d.test", "--password=secret")
    right = util("authenticate", "u@d.test", "--password=secret")
    assert right == Answer(0, "Authentication succeeded\n")
    wrong = util("authenticate", "u@d.test", "--password=wrong")
    assert wrong == Answer(1, "Authentication failed\n")


@pytest.mark.case("C14")
def test_a_pipe_alias_is_shown_with_its_command(util: Util, folder: Path) -> None:
    (folder / "domains" / "d.test" / "aliases").write_text("pp: | c x\n")
    answer = util("aliases-resolve", "pp@d.test")
    assert answer.code == 0
    assert answer.text.splitlines()[-1] == "(pipe)  c x"


@pytest.mark.case("C15")
def test_an_unknown_domain_has_nothing_to_remove(util: Util) -> None:
    answer = util("domaininfo-remove", "unknown.test")
    assert answer.code == 1
    assert answer.text.startswith("Error removing ")


@pytest.mark.case("C15")
@pytest.mark.newer_than_debian
def test_that_there_was_nothing_is_said(util: Util) -> None:
    answer = util("domaininfo-remove", "unknown.test")
    assert answer.text == "Error removing domaininfo entry: does not exist\n"
