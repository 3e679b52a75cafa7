"""Which parts of one of our local parts count: drop characters and suffixes.

With the drop character `.` and the separator `+`, `u.ser+tag` reaches `user`. An address is
looked up twice: first without drop characters but with its suffix (`exact`), then without both
(`cleaned`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LocalPartRules:
    """Sets of characters; an empty string turns that rule off."""

    suffix_separators: str = "+"
    drop_characters: str = "."
    _separator: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    _dropped: dict[int, None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        separators = self.suffix_separators
        pattern = re.compile(f"[{re.escape(separators)}]") if separators else None
        object.__setattr__(self, "_separator", pattern)
        object.__setattr__(self, "_dropped", dict.fromkeys(map(ord, self.drop_characters)))

    def exact(self, local: str) -> str:
        """`local` without drop characters before its suffix; the suffix as it stands."""
        head, suffix = self._split(local)
        return head.translate(self._dropped) + suffix

    def cleaned(self, local: str) -> str:
        """`local` without suffix and drop characters; may be empty."""
        return self._split(local)[0].translate(self._dropped)

    def _split(self, local: str) -> tuple[str, str]:
        match = self._separator.search(local) if self._separator else None
        if match is None:
            return local, ""
        return local[: match.start()], local[match.start() :]
