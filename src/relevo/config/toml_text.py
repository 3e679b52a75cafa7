"""Values of settings written as TOML."""

from __future__ import annotations

from typing import Any, assert_never

from relevo.config.schema import Key, Kind
from relevo.config.units import format_duration, format_size

_ESCAPES = {
    **{code: f"\\u{code:04x}" for code in (*range(0x20), 0x7F)},
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def toml_string(text: str) -> str:
    """`text` as a basic string."""
    return f'"{text.translate(_ESCAPES)}"'


def toml_value(key: Key, value: Any) -> str:
    """`value`, one of those that `key` can have, as its loader reads it back."""
    match key.kind:
        case Kind.TEXT | Kind.PATH:
            return toml_string(str(value))
        case Kind.WORDS:
            return f"[{', '.join(toml_string(word) for word in value)}]"
        case Kind.FLAG:
            return "true" if value else "false"
        case Kind.INTEGER:
            return str(value)
        case Kind.SHARE:
            return repr(float(value))
        case Kind.SIZE:
            text = format_size(value)
            return text if text.isdecimal() else toml_string(text)
        case Kind.DURATION:
            return toml_string(format_duration(value))
        case Kind.TABLE:
            return _inline(value.values)
        case _:
            assert_never(key.kind)


def _inline(value: Any) -> str:
    """What a free table holds, on one line."""
    match value:
        case dict():
            pairs = [f"{toml_string(name)} = {_inline(each)}" for name, each in value.items()]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case list():
            return f"[{', '.join(map(_inline, value))}]"
        case bool():
            return "true" if value else "false"
        case str():
            return toml_string(value)
        case _:
            return repr(value)
