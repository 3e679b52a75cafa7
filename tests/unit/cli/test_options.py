"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import load_config
from relevo.config import ConfigErrors
from unit.cli.invoking import Run, invoke


def test_load_config_applies_overrides(site: ConfigDir) -> None:
    assert load_config(site.path, ("limits.errors=7",)).limits.errors == 7


def test_load_config_names_the_bad_override(site: ConfigDir) -> None:
    with pytest.raises(ConfigErrors, match=r"--set: limits\.eror"):
        load_config(site.path, ("limits.eror=7",))


@pytest.mark.parametrize("option", ["-C", "--config-dir"])
def test_the_config_dir_can_be_named_both_ways(site: ConfigDir, option: str) -> None:
    assert invoke(["user", "list", option, str(site.path)]).code == 0


def test_the_config_dir_can_come_from_the_environment(run: Run) -> None:
    assert "user@d1.test" in run("user", "list").out


def test_a_file_is_no_config_dir(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert invoke(["user", "list", "-C", str(file)]).code == 2
