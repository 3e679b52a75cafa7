"""What is wrong with a configuration, said so that the operator can go and mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """Does the problem keep the server from starting?"""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `line` 0: no line can be named; `key` "": it is about the file as a whole."""

    file: str
    line: int
    key: str
    text: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = (place, self.key, self.text) if self.key else (place, self.text)
        hint = f" ({self.hint})" if self.hint else ""
        return ": ".join(parts) + hint


class ConfigErrors(Exception):
    """The configuration cannot be used; `problems` holds everything found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
