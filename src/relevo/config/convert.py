"""From what a file says to what a key holds, judged by the key's own documentation."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, assert_never

from relevo.config.free_table import BadTable, FreeTable
from relevo.config.schema import Key, Kind
from relevo.config.units import (
    DURATION_HINT,
    SIZE_HINT,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


class BadValue(ValueError):
    """A value that its key cannot have; `hint` says what it can."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


def convert(key: Key, raw: Any) -> Any:
    """`raw`, a value as tomllib gives it, as `key` holds it; raises BadValue.

    A single text will do where a list of texts is wanted.
    """
    value = _typed(key, raw)
    check_bounds(key, value)
    return value


def convert_text(key: Key, text: str) -> Any:
    """The right side of `--set KEY=VALUE` as `key` holds it; raises BadValue.

    It is a TOML value where it can be read as one of the kind wanted, otherwise plain text.
    """
    try:
        raw = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # tomllib raises them too, for endless numbers and nesting
        return convert(key, text)
    wants_text = key.kind not in {Kind.FLAG, Kind.INTEGER, Kind.SHARE}
    is_plain = len(raw) != 1 or (wants_text and not isinstance(raw["value"], str | list))
    return convert(key, text if is_plain else raw["value"])


def check_bounds(key: Key, value: Any) -> None:
    """Raises BadValue for a value of the right type that is no choice or out of range."""
    if key.choices and value not in key.choices:
        near = nearest(str(value), key.choices)
        one_of = "one of " + ", ".join(key.choices)
        hint = f"did you mean {near}? {one_of}" if near else one_of
        raise BadValue(f"{value!r} is no choice", hint)
    if key.least is not None and value < key.least:
        raise BadValue(f"{_shown(key, value)} is too small", f"at least {_shown(key, key.least)}")
    if key.most is not None and value > key.most:
        raise BadValue(f"{_shown(key, value)} is too large", f"at most {_shown(key, key.most)}")


def nearest(name: str, names: tuple[str, ...]) -> str:
    """The one of `names` that `name` most likely means; "": none is near."""
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.6)), "")


def _typed(key: Key, raw: Any) -> Any:
    match key.kind:
        case Kind.TEXT:
            if isinstance(raw, bool) and (switch := str(raw).lower()) in key.choices:
                return switch  # true and "true" are the same
            return _text(raw)
        case Kind.PATH:
            if not (text := _text(raw)):
                raise BadValue("the path is empty")
            return Path(text)
        case Kind.WORDS:
            return _words(raw)
        case Kind.FLAG:
            if not isinstance(raw, bool):
                raise BadValue(f"{_raw(raw)} is neither true nor false", "without quotes")
            return raw
        case Kind.INTEGER:
            return _integer(raw)
        case Kind.SHARE:
            if isinstance(raw, bool) or not isinstance(raw, int | float) or not isfinite(raw):
                raise BadValue(f"{_raw(raw)} is not a number")
            return float(raw)
        case Kind.SIZE:
            return _size(raw)
        case Kind.DURATION:
            return _duration(raw)
        case Kind.TABLE:
            return _table(raw)
        case _:
            assert_never(key.kind)


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise BadValue(f"{_raw(raw)} is not a text", "put it in quotes")
    if "\0" in raw:
        raise BadValue("a text cannot contain NUL")
    return raw


def _words(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str):
        return (_text(raw),)
    if not isinstance(raw, list) or not all(isinstance(word, str) for word in raw):
        raise BadValue(f"{_raw(raw)} is not a list of texts", 'write for example ["a", "b"]')
    return tuple(_text(word) for word in raw)


def _integer(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise BadValue(f"{_raw(raw)} is not an integer", "digits without quotes")
    if abs(raw) >= 2**63:
        raise BadValue("the number does not fit in 64 bits")
    return raw


def _size(raw: Any) -> int:
    if not isinstance(raw, str):
        return _integer(raw)
    try:
        return parse_size(raw)
    except ValueError as error:
        raise BadValue(str(error), SIZE_HINT) from error


def _duration(raw: Any) -> timedelta:
    if not isinstance(raw, str):
        raise BadValue(f"{_raw(raw)} is not a duration", DURATION_HINT)
    try:
        return parse_duration(raw)
    except ValueError as error:
        raise BadValue(str(error), DURATION_HINT) from error


def _table(raw: Any) -> FreeTable:
    if not isinstance(raw, dict):
        raise BadValue(f"{_raw(raw)} is not a table", "write { name = value }")
    try:
        return FreeTable.of(raw)
    except BadTable as error:
        raise BadValue(str(error)) from error


def _raw(raw: Any) -> str:
    """A value as its file shows it, cut to a readable length."""
    if isinstance(raw, dict):
        return "a table"
    text = str(raw).lower() if isinstance(raw, bool) else repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."


def _shown(key: Key, value: Any) -> str:
    if isinstance(value, timedelta):
        return format_duration(value) if value >= timedelta(0) else f"{value.total_seconds():g}s"
    if key.kind is Kind.SIZE:
        return format_size(value) if value >= 0 else str(value)
    return str(value)
