"""Fixtures of the outbound tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from harness.authority import Authority
from unit.delivery.loops import Runner


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine to its end, on each of the loops that relevo supports."""
    return Runner(uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    """The authority, for clients that trust it."""
    return str(authority.write(tmp_path / "ca.pem"))
