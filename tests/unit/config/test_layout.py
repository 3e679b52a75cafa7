"""What is found in a config directory, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.config import Severity, find_certificates, find_domains, hooks_dir


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.case("C7")
def test_an_incomplete_certificate_folder_is_skipped(tmp_path: Path) -> None:
    for name in ("a/fullchain.pem", "a/privkey.pem", "b/fullchain.pem"):
        touch(tmp_path / "certs" / name)
    (found,), (problem,) = find_certificates(tmp_path)
    assert (found.name, found.chain, found.key) == (
        "a",
        tmp_path / "certs/a/fullchain.pem",
        tmp_path / "certs/a/privkey.pem",
    )
    assert problem.severity is Severity.WARNING
    assert str(problem) == f"{tmp_path}/certs/b: the folder is skipped: it has no privkey.pem"


def test_links_are_folders_and_files_are_ignored(tmp_path: Path) -> None:
    for name in ("live/x/fullchain.pem", "live/x/privkey.pem", "live/README"):
        touch(tmp_path / name)
    (tmp_path / "certs").symlink_to("live")
    (tmp_path / "live" / "y").symlink_to("x")
    found, problems = find_certificates(tmp_path)
    assert [folder.name for folder in found] == ["x", "y"]
    assert problems == ()


@pytest.mark.case("C8")
@pytest.mark.parametrize("what", ["certs", "domains"])
def test_a_missing_folder_is_an_error(tmp_path: Path, what: str) -> None:
    find = {"certs": find_certificates, "domains": find_domains}[what]
    found, (problem,) = find(tmp_path)
    assert found == ()
    assert problem.severity is Severity.ERROR
    assert problem.file == str(tmp_path / what)
    assert "cannot be read: No such file" in problem.text


@pytest.mark.case("C8")
@pytest.mark.parametrize("what", ["certs", "domains"])
def test_an_empty_folder_is_an_error(tmp_path: Path, what: str) -> None:
    touch(tmp_path / what / "README")
    (tmp_path / what / ".git").mkdir()
    find = {"certs": find_certificates, "domains": find_domains}[what]
    found, (problem,) = find(tmp_path)
    assert found == ()
    assert problem.severity is Severity.ERROR
    assert "has no folder in it" in problem.text


def test_certificates_of_which_none_is_complete_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "certs" / "a").mkdir(parents=True)
    found, problems = find_certificates(tmp_path)
    assert found == ()
    assert [problem.severity for problem in problems] == [Severity.WARNING, Severity.ERROR]
    assert "no fullchain.pem and no privkey.pem" in problems[0].text


def test_domains_are_normalized_and_know_their_files(tmp_path: Path) -> None:
    for name in ("Example.ORG", "xn--bcher-kva.example"):
        (tmp_path / "domains" / name).mkdir(parents=True)
    found, problems = find_domains(tmp_path)
    assert problems == ()
    assert [domain.name for domain in found] == ["example.org", "bücher.example"]
    assert found[0].users == tmp_path / "domains/Example.ORG/users"
    assert found[0].aliases == tmp_path / "domains/Example.ORG/aliases"


@pytest.mark.parametrize(
    ("names", "part"),
    [
        pytest.param(["a b"], "no domain", id="no-domain"),
        pytest.param(["xn--bcher-kva.example", "bücher.example"], "same domain", id="same-twice"),
    ],
)
def test_a_folder_that_is_no_new_domain_is_an_error(
    tmp_path: Path, names: list[str], part: str
) -> None:
    for name in names:
        (tmp_path / "domains" / name).mkdir(parents=True)
    _, (problem,) = find_domains(tmp_path)
    assert problem.severity is Severity.ERROR
    assert part in problem.text


def test_dkim_keys_carry_their_selector(tmp_path: Path) -> None:
    for name in ("dkim:b.pem", "dkim:a.2030.pem", "dkim:.pem", "dkim.pem", "users"):
        touch(tmp_path / "domains/d1.test" / name)
    (domain,), _ = find_domains(tmp_path)
    assert [(key.selector, key.path.name) for key in domain.dkim_keys()] == [
        ("a.2030", "dkim:a.2030.pem"),
        ("b", "dkim:b.pem"),
    ]


def test_hooks_are_beside_them(tmp_path: Path) -> None:
    assert hooks_dir(tmp_path) == tmp_path / "hooks"
