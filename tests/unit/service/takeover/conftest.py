"""A relevo site with a queue, and a data directory of chasquid beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config_dir import Domain, relevo_config
from relevo.service.takeover.conversion import Site
from unit.service.takeover.leftovers import site_of


@pytest.fixture
def site(tmp_path: Path) -> Site:
    domains = {"d1.test": Domain({"user": "secret"}, aliases="boss: user, chief@r.test\n")}
    return site_of(relevo_config(tmp_path / "site", domains=domains))


@pytest.fixture
def left(tmp_path: Path) -> Path:
    path = tmp_path / "chasquid"
    path.mkdir()
    return path
