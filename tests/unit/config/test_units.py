from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("0", timedelta(0), id="bare-zero"),
        pytest.param("0s", timedelta(0), id="zero"),
        pytest.param("1s", timedelta(seconds=1), id="second"),
        pytest.param("30m", timedelta(minutes=30), id="minutes"),
        pytest.param("1h30m", timedelta(hours=1, minutes=30), id="two-units"),
        pytest.param("1.5h", timedelta(minutes=90), id="fraction"),
        pytest.param(".5s", timedelta(milliseconds=500), id="fraction-alone"),
        pytest.param("1.s", timedelta(seconds=1), id="trailing-point"),
        pytest.param("100ms", timedelta(milliseconds=100), id="milliseconds"),
        pytest.param("5µs", timedelta(microseconds=5), id="micro-sign"),
        pytest.param("5μs", timedelta(microseconds=5), id="greek-mu"),
        pytest.param("1500ns", timedelta(microseconds=2), id="rounded"),
    ],
)
def test_durations_of_go_are_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected
    assert parse_duration(text, go_only=True) == expected


def test_days_and_weeks_are_ours_and_not_gos() -> None:
    assert parse_duration("2d") == timedelta(days=2)
    assert parse_duration("1w1d") == timedelta(days=8)
    for text in ("2d", "1w"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text, go_only=True)


def test_signs_are_gos_and_not_ours() -> None:
    assert parse_duration("-1h30m", go_only=True) == timedelta(minutes=-90)
    assert parse_duration("+1h", go_only=True) == timedelta(hours=1)
    for text in ("-1h", "+1h"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1 h", "1H", "1h ", "1x", "1hh", "1h30", "-", ".s", "9" * 30 + "s"]
)
def test_other_texts_are_no_durations(text: str) -> None:
    for go_only in (False, True):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text, go_only=go_only)


def test_a_duration_beyond_292_years_is_refused() -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration("999999999999h")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=100_000)))
def test_written_durations_are_read_back(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1024", 1024),
        ("10B", 10),
        ("64KiB", 65536),
        ("50MiB", 52_428_800),
        ("50 MiB", 52_428_800),
        ("10MB", 10_000_000),
        ("1kB", 1000),
        ("2GiB", 2 * 1024**3),
        ("1TB", 10**12),
    ],
)
def test_sizes_are_read(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "10M", "10mb", "1 000", "9" * 19])
def test_other_texts_are_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@given(st.integers(0, 2**45))
def test_written_sizes_are_read_back(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets
