"""Dates of RFC 3339, compared with the calendar of the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.smtp.dates import date, parse_date

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=ZONES))
def test_every_date_is_read_as_the_calendar_has_it(when: datetime) -> None:
    assert parse_date(when.isoformat()) == (when.replace(microsecond=0)).timestamp()


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_second_is_written_as_the_calendar_has_it(when: datetime) -> None:
    shown = date(when.replace(microsecond=0).timestamp())
    assert datetime.fromisoformat(shown) == when.replace(microsecond=0)


@given(st.text(alphabet="0123456789-:T.Z+", max_size=30))
def test_any_text_is_a_date_or_none(text: str) -> None:
    found = parse_date(text)
    assert found is None or isinstance(found, float)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00+24:00",
        "tomorrow",
    ],
)
def test_what_is_none(text: str) -> None:
    assert parse_date(text) is None
