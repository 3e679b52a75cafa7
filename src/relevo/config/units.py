"""Durations and sizes as people write them: `1h30m`, `20h`, `2d`; `50MiB`, `10MB`."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

_GO_UNITS = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "µs": Fraction(1),  # U+00B5
    "μs": Fraction(1),  # U+03BC
    "ms": Fraction(1000),
    "s": Fraction(1_000_000),
    "m": Fraction(60_000_000),
    "h": Fraction(3_600_000_000),
}
_UNITS = {**_GO_UNITS, "d": Fraction(86_400_000_000), "w": Fraction(7 * 86_400_000_000)}
_SIZES = {"B": 1, "": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _SIZES[f"{_letter}iB"] = 1024**_power
    _SIZES[f"{_letter}B"] = 1000**_power
_SIZES["kB"] = 1000

# The digits are bounded so that no text makes huge numbers.
_DURATION = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})([a-zµμ]+)")
_SIZE = re.compile(r"(\d{1,18})\s?([A-Za-z]{0,3})")

DURATION_HINT = 'write for example "30s", "5m", "1h30m" or "2d"'
GO_DURATION_HINT = 'units are ns, us, ms, s, m and h, for example "48h" or "1h30m"; days are none'
SIZE_HINT = 'write octets, or for example "64KiB", "50MiB" or "10MB"'


def parse_duration(text: str, *, go_only: bool = False) -> timedelta:
    """The duration `text` names, rounded to microseconds; raises ValueError.

    With `go_only` exactly what Go's time.ParseDuration takes: a sign, no days or weeks.
    """
    units = _GO_UNITS if go_only else _UNITS
    rest = text[1:] if go_only and text[:1] in {"+", "-"} else text
    sign = -1 if text.startswith("-") else 1
    if rest == "0":
        return timedelta(0)
    total = Fraction(0)
    at = 0
    while at < len(rest):
        match = _DURATION.match(rest, at)
        if match is None or match[2] not in units:
            raise ValueError(f"{text!r} is not a duration")
        total += Fraction(match[1].rstrip(".")) * units[match[2]]
        at = match.end()
    if not rest or total > 2**63 // 1000:  # 292 years, Go's limit
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(microseconds=sign * round(total))


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same value (if not negative)."""
    left = value // timedelta(microseconds=1)
    if not left:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, left = divmod(left, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_size(text: str) -> int:
    """Octets; raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _SIZES:
        raise ValueError(f"{text!r} is not a size")
    return int(match[1]) * _SIZES[match[2]]


def format_size(octets: int) -> str:
    """The shortest text that `parse_size` reads back as the same number."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if octets and octets % _SIZES[unit] == 0:
            return f"{octets // _SIZES[unit]}{unit}"
    return str(octets)
