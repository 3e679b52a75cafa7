"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from relevo.cli.phrases import count, moment, octets, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (-5, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"),
        (3_600, "1h"), (3_661, "1h 1m"), (86_400, "1d"), (90_061, "1d 1h"), (86_405, "1d 5s"),
    ],
)  # fmt: skip
def test_span_has_the_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_536, "1.5 KiB"),
        (50 * 2**20, "50 MiB"), (2**30, "1.0 GiB"), (5_000 * 2**40, "5000 TiB"),
    ],
)  # fmt: skip
def test_octets(size: int, text: str) -> None:
    assert octets(size) == text


def test_count_knows_one_from_many() -> None:
    assert [count(number, "message") for number in (0, 1, 2)] == [
        "0 messages",
        "1 message",
        "2 messages",
    ]


def test_moment_is_local_time() -> None:
    assert moment(0)[:4] in {"1969", "1970"}
    assert len(moment(1_800_000_000)) == len("2027-01-15 08:00:00")
