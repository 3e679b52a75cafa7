"""Numbers and times as people read them."""

from __future__ import annotations

import time

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_SIZES = ("KiB", "MiB", "GiB", "TiB")


def span(seconds: float) -> str:
    """`2d 3h`, `5m 10s`, `0s`: the two largest units."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for length, name in _UNITS:
        number, left = divmod(left, length)
        if number:
            parts.append(f"{number}{name}")
    return " ".join(parts[:2]) or "0s"


def octets(size: int) -> str:
    """`512 B`, `1.5 KiB`, `48 MiB`."""
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, len(_SIZES))
    value = size / 1024**power
    return f"{value:.{1 if value < 10 else 0}f} {_SIZES[power - 1]}"


def count(number: int, noun: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment(seconds: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
