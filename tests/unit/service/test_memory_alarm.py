"""A MemoryError that is logged anywhere is noticed, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from relevo.service.memory_alarm import MemoryAlarm

CALLS: list[str] = []


@pytest.fixture
def alarm() -> Iterator[MemoryAlarm]:
    CALLS.clear()
    alarm = MemoryAlarm(lambda: CALLS.append("no memory"))
    yield alarm
    alarm.close()


def fail(name: str, error: Exception) -> None:
    try:
        raise error
    except Exception:
        logging.getLogger(name).exception("an attempt failed")


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("name", ["relevo.reception", "asyncio"])
def test_it_is_noticed_once(name: str) -> None:
    fail(name, MemoryError())
    fail(name, MemoryError())
    assert CALLS == ["no memory"]


@pytest.mark.usefixtures("alarm")
def test_other_errors_are_none() -> None:
    fail("relevo.reception", ValueError())
    logging.getLogger("relevo").error("MemoryError")
    assert CALLS == []


def test_after_its_end_it_notices_nothing(alarm: MemoryAlarm) -> None:
    alarm.close()
    fail("relevo.reception", MemoryError())
    assert CALLS == []
