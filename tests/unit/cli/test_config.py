"""`relevo config show`."""

from __future__ import annotations

import tomllib

from harness.config_dir import HOSTNAME, ConfigDir
from unit.cli.invoking import Run


def test_show_prints_a_relevo_toml_with_origins(run: Run) -> None:
    out = run("config", "show").out
    assert tomllib.loads(out)["hostname"] == HOSTNAME
    assert f'hostname = "{HOSTNAME}"  # relevo.toml:1' in out


def test_show_applies_overrides(run: Run) -> None:
    out = run("config", "show", "--set", "limits.errors=9").out
    assert tomllib.loads(out)["limits"]["errors"] == 9


def test_show_json(run: Run, site: ConfigDir) -> None:
    document = run("config", "show", "--json").json
    assert document["config"]["hostname"] == HOSTNAME
    assert document["config_dir"] == str(site.path)
