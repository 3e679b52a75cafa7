"""Which folders are domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relevo.directory.domains import scan_domains
from relevo.directory.problems import FileError

if TYPE_CHECKING:
    from pathlib import Path


def test_folders_are_domains_in_normal_form_and_files_are_not(tmp_path: Path) -> None:
    for name in ("z.test", "Ñandú.test", "XN--bcher-kva.test", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "README").touch()
    found, problems = scan_domains(tmp_path)
    assert list(found) == ["bücher.test", "z.test", "ñandú.test"]
    assert found["ñandú.test"] == tmp_path / "Ñandú.test"
    assert problems == []


def test_a_link_to_a_folder_is_a_domain(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "domains").mkdir()
    (tmp_path / "domains" / "d.test").symlink_to(tmp_path / "elsewhere")
    assert list(scan_domains(tmp_path / "domains")[0]) == ["d.test"]


def test_two_names_of_a_domain_must_be_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "bücher.test").mkdir()
    (tmp_path / "xn--bcher-kva.test").symlink_to("bücher.test")
    assert scan_domains(tmp_path)[1] == []
    (tmp_path / "xn--bcher-kva.test").unlink()
    (tmp_path / "xn--bcher-kva.test").mkdir()
    found, problems = scan_domains(tmp_path)
    assert list(found) == ["bücher.test"]
    assert [problem.text.split(";")[0] for problem in problems] == [
        "the same domain as bücher.test"
    ]


def test_a_name_that_is_no_domain_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "d.test").mkdir()
    (tmp_path / "a b").mkdir()
    found, problems = scan_domains(tmp_path)
    assert list(found) == ["d.test"]
    assert [problem.path for problem in problems] == [tmp_path / "a b"]


@pytest.mark.case("C8")
def test_a_missing_or_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no domain"):
        scan_domains(tmp_path)
    with pytest.raises(FileError, match="missing: cannot be read"):
        scan_domains(tmp_path / "missing")
