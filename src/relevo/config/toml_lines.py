"""On which line each key of a TOML document stands; tomllib does not say.

The scanner relies on tomllib having taken the document before: it only skips values, it does not
judge them. Law, tested against tomllib: the paths found are exactly those of the parsed tree.
"""

from __future__ import annotations

import re
import tomllib
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys from the root; an item of an array of tables (or of inline tables) is its index."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'"
)
_PLAIN = re.compile(r"[^,\]}#\r\n]+")


def key_lines(document: str) -> dict[Path, int]:
    """Line (from 1) of every key of `document`, which tomllib takes; a table's is its first."""
    scanner = _Scanner(document)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._items: dict[Path, int] = {}  # arrays of tables: index of the newest item
        self._counted = (0, 1)  # an offset passed and its line

    def document(self) -> None:
        table: Path = ()
        while self._blank() < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        line = self._line()
        parts = self._key()
        path: Path = ()
        for number, part in enumerate(parts, start=1):
            path += (part,)
            self.lines.setdefault(path, line)
            if is_array and number == len(parts):
                self._items[path] = self._items.get(path, -1) + 1
            if path in self._items:
                path += (self._items[path],)
                self.lines.setdefault(path, line)
        self._at += 2 if is_array else 1
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path += (part,)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while True:
            match = _KEY_PART.match(self._text, self._at)
            assert match is not None
            part = match[1]
            parts.append(tomllib.loads(f"k = {part}")["k"] if part[0] in "\"'" else part)
            self._at = match.end()
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        self._blank()
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._at += 1
                while self._text[self._blank()] != "}":
                    self._pair(path)
                    if self._text[self._blank()] == ",":
                        self._at += 1
                self._at += 1
            case _:
                match = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
                assert match is not None
                self._at = match.end()

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._text[self._blank()] != "]":
            if self._text[self._at] == "{":
                self.lines[*path, index] = self._line()
            self._value((*path, index))
            index += 1
            if self._text[self._blank()] == ",":
                self._at += 1
        self._at += 1

    def _blank(self) -> int:
        """Skip blanks, line ends and comments; where that ends."""
        match = _BLANK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._at

    def _line(self) -> int:
        offset, line = self._counted
        line += self._text.count("\n", offset, self._at)
        self._counted = (self._at, line)
        return line
