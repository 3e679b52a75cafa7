"""What is wrong in a file of the directory, as values with the place.

A reader of one file raises `FileError` with what it found; loading a whole config directory
collects that into one `DirectoryErrors`, so that an operator sees all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One problem; `line` counts from 1, 0 means the file as a whole."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.text}"


class FileError(Exception):
    """A file of the directory cannot be used; `problems`, at least one, say where and why."""

    def __init__(self, *problems: FileProblem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class DirectoryErrors(Exception):
    """The directory cannot be loaded; `problems` holds everything found, never empty."""

    def __init__(self, problems: tuple[FileProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
