"""The one way in which a field of the configuration says what it is."""

from __future__ import annotations

from dataclasses import field
from datetime import timedelta
from typing import Any


def key(
    doc: str,
    default: Any,
    *,
    unit: str = "",
    choices: tuple[str, ...] = (),
    least: float | timedelta | None = None,
    most: float | timedelta | None = None,
) -> Any:
    """A field with its documentation; `default` may be a factory for containers.

    `choices` lists every value taken, `least` and `most` bound numbers and durations (both
    inclusive).
    """
    meta = {"doc": doc, "unit": unit, "choices": choices, "least": least, "most": most}
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)
