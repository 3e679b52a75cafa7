r"""Protobuf text format without a schema: the syntax of `chasquid.conf` and of `users` files.

`parse` turns bytes into a tree of fields in file order; what a field means, and whether it may
be given twice, is the reader's business. Every node knows its line and column, so that a reader
can name the place of anything it dislikes. Strings are byte strings: characters written without
an escape stay the UTF-8 octets they are in the file.

Taken: `name: value`, `name { … }`, `name: { … }`, `< … >` for a message, `[a, b]` lists, `,` or
`;` after a field, `#` comments, single and double quotes, adjacent strings, and the escapes of C
plus `\uXXXX` and `\UXXXXXXXX`. Extension names (`[a.b]: …`) are not taken.

For any bytes at all `parse` returns a `Message` or raises `TextProtoError`, never anything else.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

MAX_DEPTH = 32
"""Deepest nesting taken; `users` files need four."""


class TextProtoError(ValueError):
    """The text is not text format, or not what its reader wants; says where."""

    def __init__(self, source: str, line: int, column: int, text: str) -> None:
        super().__init__(source, line, column, text)
        self.source = source
        self.line = line
        self.column = column
        self.text = text

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}: {self.text}"


@dataclass(frozen=True, slots=True)
class Quoted:
    """A string, unescaped; adjacent strings are joined."""

    data: bytes
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Bare:
    """A word or number written without quotes."""

    text: str
    line: int
    column: int

    def integer(self) -> int | None:
        """The value as decimal, hexadecimal (0x…) or octal (0…) integer; None: it is none."""
        if not _INTEGER.fullmatch(self.text):
            return None
        digits = self.text.removeprefix("-")
        octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
        return int(self.text, 8 if octal else 0)

    def boolean(self) -> bool | None:
        """The value as boolean (0 and 1 in any base included); None: it is none."""
        if self.text in _BOOLEANS:
            return _BOOLEANS[self.text]
        number = None if self.text.startswith("-") else self.integer()
        return bool(number) if number in {0, 1} else None


@dataclass(frozen=True, slots=True)
class Message:
    """Fields in file order; the whole file is one too."""

    fields: tuple[Field, ...]
    line: int
    column: int


Value: TypeAlias = Quoted | Bare | Message


@dataclass(frozen=True, slots=True)
class Field:
    """One field as written. `values` has one item unless `is_list`; an empty list has none."""

    name: str
    values: tuple[Value, ...]
    is_list: bool
    line: int
    column: int


_BOOLEANS = {
    **dict.fromkeys(("true", "True", "t"), True),
    **dict.fromkeys(("false", "False", "f"), False),
}
# At most 20 octal digits hold 64 bits with a sign; longer numbers are no value of any field, and
# the bound keeps int() away from input of any length.
_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})")

# Each token takes the blanks and comments behind it along: half the work of a large file is that.
_REST = rb"(?:[ \t\r\n\v\f]+|#[^\n]*)*"
_BLANK = re.compile(_REST)
_NAME = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*)" + _REST + rb"(:?)" + _REST)
_BARE = re.compile(
    rb"([A-Za-z_][A-Za-z0-9_]*|-?[0-9.][0-9A-Za-z_.+-]*|-(?:infinity|inf|nan)\b)" + _REST
)
_STRING = re.compile(
    rb'(?:"([^"\\\n\0]*(?:\\[^\n\0][^"\\\n\0]*)*)"'
    rb"|'([^'\\\n\0]*(?:\\[^\n\0][^'\\\n\0]*)*)')" + _REST
)
_ESCAPE = re.compile(
    rb"\\(?:([abfnrtv?\\'\"])|([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})"
    rb"|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|)"
)
_SIMPLE_ESCAPES = dict(zip(b"abfnrtv?\\'\"", b"\a\b\f\n\r\t\v?\\'\"", strict=True))
_CLOSING = {ord("{"): ord("}"), ord("<"): ord(">")}


def parse(data: bytes, source: str) -> Message:
    """The tree of `data`; `source` (a file name) only names the origin in errors.

    Raises TextProtoError at the first thing that is not text format.
    """
    return _Parser(data, source).top()


def quote(data: bytes) -> str:
    """`data` as a double-quoted string that `parse` and chasquid read back as the same octets.

    Valid UTF-8 is left readable, control characters and other octets become escapes.
    """
    text = data.decode("utf-8", "surrogateescape").translate(_QUOTE_TABLE)
    return f'"{text}"'


_QUOTE_TABLE: dict[int, str] = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)},
    **{0xDC00 + octet: f"\\x{octet:02x}" for octet in range(0x80, 0x100)},
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


class _Parser:
    """Recursive descent over one buffer; `_at` is the place of the next token."""

    def __init__(self, data: bytes, source: str) -> None:
        self._data = data
        self._source = source
        self._at = 0
        self._newlines = [match.start() for match in re.finditer(rb"\n", data)]

    def top(self) -> Message:
        self._skip_blank()
        fields = self._fields(closing=None, depth=0)
        return Message(fields, 1, 1)

    def _fields(self, closing: int | None, depth: int) -> tuple[Field, ...]:
        """Fields up to the closing bracket, which is consumed, or to the end of the data."""
        fields = []
        while self._at < len(self._data) and self._peek() != closing:
            fields.append(self._field(depth))
            if self._peek() in b",;":
                self._advance(1)
        if closing is not None:
            if self._at >= len(self._data):
                self._fail(f"the message is not closed: {chr(closing)} is missing")
            self._advance(1)
        return tuple(fields)

    def _field(self, depth: int) -> Field:
        line, column = self._place(self._at)
        match = _NAME.match(self._data, self._at)
        if match is None:
            self._fail(f"a field name is expected here, not {self._shown()}")
        self._at = match.end()
        name, colon = match[1].decode("ascii"), match[2]
        octet = self._peek()
        if not colon and octet not in b"{<[":
            self._fail(f"a colon is missing after {name}")
        if octet == ord("["):
            values = self._list(depth)
            if not colon and not all(isinstance(value, Message) for value in values):
                raise TextProtoError(self._source, line, column, f"a colon is missing after {name}")
            return Field(name, values, is_list=True, line=line, column=column)
        return Field(name, (self._value(depth),), is_list=False, line=line, column=column)

    def _list(self, depth: int) -> tuple[Value, ...]:
        self._advance(1)
        values: list[Value] = []
        if self._peek() == ord("]"):
            self._advance(1)
            return ()
        while True:
            values.append(self._value(depth))
            octet = self._peek()
            if octet not in b",]":
                self._fail(f"a comma or ] is expected here, not {self._shown()}")
            self._advance(1)
            if octet == ord("]"):
                return tuple(values)

    def _value(self, depth: int) -> Value:
        line, column = self._place(self._at)
        octet = self._peek()
        if octet in _CLOSING:
            if depth >= MAX_DEPTH:
                self._fail(f"messages are nested more than {MAX_DEPTH} deep")
            self._advance(1)
            return Message(self._fields(_CLOSING[octet], depth + 1), line, column)
        if octet in b"\"'":
            return Quoted(self._strings(), line, column)
        match = _BARE.match(self._data, self._at)
        if match is None:
            self._fail(f"a value is expected here, not {self._shown()}")
        self._at = match.end()
        return Bare(match[1].decode("ascii"), line, column)

    def _strings(self) -> bytes:
        parts = []
        while self._peek() in b"\"'":
            match = _STRING.match(self._data, self._at)
            if match is None:
                self._fail("the string is not closed on its line")
            double, single = match[1], match[2]
            parts.append(self._unescaped(single if double is None else double, self._at + 1))
            self._at = match.end()
        return b"".join(parts)

    def _unescaped(self, raw: bytes, offset: int) -> bytes:
        if b"\\" not in raw:
            return raw

        def replace(match: re.Match[bytes]) -> bytes:
            simple, octal, hexadecimal, short, long = match.groups()
            if simple:
                return bytes((_SIMPLE_ESCAPES[simple[0]],))
            if octal or hexadecimal:
                number = int(octal, 8) if octal else int(hexadecimal, 16)
                if number <= 0xFF:
                    return bytes((number,))
            if short or long:
                number = int(short or long, 16)
                if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
                    return chr(number).encode()
            line, column = self._place(offset + match.start())
            raise TextProtoError(
                self._source, line, column, "the escape is not known or out of range"
            )

        return _ESCAPE.sub(replace, raw)

    def _peek(self) -> int:
        """The next octet; NUL, with which no token starts, at the end."""
        return self._data[self._at] if self._at < len(self._data) else 0

    def _advance(self, length: int) -> None:
        self._at += length
        self._skip_blank()

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._data, self._at)
        assert match is not None
        self._at = match.end()

    def _shown(self) -> str:
        if self._at >= len(self._data):
            return "the end of the file"
        word = self._data[self._at : self._at + 20].split()[0]
        return ascii(word.decode("utf-8", "replace"))

    def _place(self, offset: int) -> tuple[int, int]:
        """Line and column from 1; columns count octets as chasquid's do."""
        index = bisect_left(self._newlines, offset)
        start = self._newlines[index - 1] + 1 if index else 0
        return index + 1, offset - start + 1

    def _fail(self, text: str) -> NoReturn:
        line, column = self._place(min(self._at, len(self._data)))
        raise TextProtoError(self._source, line, column, text)
