"""Fixtures of the delivery tests."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from unit.delivery.loops import Runner


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine to its end, on each of the loops that relevo supports."""
    return Runner(uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop)
