"""Durations as Go prints them."""

from __future__ import annotations

import pytest

from relevo.journal.durations import go_duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (1e-9, "1ns"),
        (1.5e-6, "1.5µs"),
        (0.1, "100ms"),
        (0.0025, "2.5ms"),
        (1, "1s"),
        (59.999, "59.999s"),
        (60, "1m0s"),
        (84.594448428, "1m24.594448428s"),
        (3600, "1h0m0s"),
        (72000, "20h0m0s"),
        (90061.5, "25h1m1.5s"),
        (-1.5, "-1.5s"),
        (-1e-12, "0s"),
    ],
)
def test_go_durations(seconds: float, shown: str) -> None:
    assert go_duration(seconds) == shown
