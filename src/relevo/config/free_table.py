"""A table whose keys another knows: the `settings` of a hook.

It is kept as JSON, because that is how it is handed on, and a value of the configuration is never
changed. What the keys mean, and whether they are right, is for whoever gets them to say.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

MAX_OCTETS = 64 * 1024
"""Of the JSON; it must fit into a variable of the environment."""
_MAX_DEPTH = 8


class BadTable(ValueError):
    """What cannot be handed on; the text says why."""


@dataclass(frozen=True, slots=True)
class FreeTable:
    """Texts, numbers, true, false, lists and tables by name, as a JSON object."""

    json: str = "{}"

    @classmethod
    def of(cls, table: dict[str, Any]) -> FreeTable:
        """From what tomllib made of it. Raises BadTable."""
        _check(table, _MAX_DEPTH)
        text = json.dumps(table, ensure_ascii=False, sort_keys=True)
        if len(text.encode("utf-8", "surrogatepass")) > MAX_OCTETS:
            raise BadTable(f"the table is larger than {MAX_OCTETS} octets")
        return cls(text)

    @property
    def values(self) -> dict[str, Any]:
        """What it holds."""
        values: dict[str, Any] = json.loads(self.json)
        return values


def _check(value: Any, depth: int) -> None:
    if not depth:
        raise BadTable(f"tables and lists may be {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        for each in value.values():
            _check(each, depth - 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadTable(f"{value} is not a number")
    elif not isinstance(value, str | int | float):
        raise BadTable(f"{value} is neither text, number, true, false, list nor table")
