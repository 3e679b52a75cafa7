"""Durations as Go writes them: what chasquid's mail log shows and its configuration has."""

from __future__ import annotations

_SECOND = 1_000_000_000
_MILLISECOND = 1_000_000
_MICROSECOND = 1_000


def go_duration(seconds: float) -> str:
    """`1m24.594448428s`, `20h0m0s`, `100ms`, `0s`."""
    nanoseconds = round(abs(seconds) * _SECOND)
    sign = "-" if seconds < 0 and nanoseconds else ""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < _MICROSECOND:
        return f"{sign}{nanoseconds}ns"
    if nanoseconds < _MILLISECOND:
        return f"{sign}{_decimal(nanoseconds, _MICROSECOND)}µs"
    if nanoseconds < _SECOND:
        return f"{sign}{_decimal(nanoseconds, _MILLISECOND)}ms"
    minutes, rest = divmod(nanoseconds, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    shown = f"{_decimal(rest, _SECOND)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}"
    return f"{sign}{minutes}m{shown}" if minutes else f"{sign}{shown}"


def _decimal(value: int, unit: int) -> str:
    """`value / unit` exactly, without trailing zeros; `unit` is a power of ten."""
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    digits = f"{part:0{len(str(unit)) - 1}}".rstrip("0")
    return f"{whole}.{digits}"
