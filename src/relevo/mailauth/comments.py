"""Comments and values within trace fields (RFC 5322 §3.2.2, RFC 8601 §2.2)."""

from __future__ import annotations

import re

MAX_COMMENT = 500  # with the rest of its line below 998 octets

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")
_SPECIALS = re.compile(r"([\\()])")


def comment(text: str) -> str:
    """`(text)` on one line: controls become `?`, what would end or open a comment is escaped."""
    shown = _on_one_line(text)
    return "(" + (_SPECIALS.sub(r"\\\1", shown) if _SPECIALS.search(shown) else shown) + ")"


def value(text: str) -> str:
    """`text` where a value is expected: as it is when it is a token, else quoted."""
    if _TOKEN.fullmatch(text):
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """`text` as a quoted string on one line."""
    shown = _on_one_line(text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _on_one_line(text: str) -> str:
    shown = text[:MAX_COMMENT]
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else "?" for c in shown)
