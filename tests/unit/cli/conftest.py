"""A config directory, and commands run on it in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config_dir import ConfigDir, relevo_config
from unit.cli.invoking import Outcome, Run, invoke


@pytest.fixture
def site(tmp_path: Path) -> ConfigDir:
    """The standard test server's directory; nothing runs on it."""
    return relevo_config(tmp_path / "site")


@pytest.fixture
def run(site: ConfigDir, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RELEVO_CONFIG_DIR", str(site.path))

    def run_on_site(*words: str, stdin: str | None = None) -> Outcome:
        return invoke(words, stdin)

    return run_on_site
