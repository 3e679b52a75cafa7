"""Text of strangers made safe for one line of a log or terminal.

Addresses, replies of other servers and lines of hooks come from outside. Whatever is not
printable (line ends, escape sequences, bidirectional overrides, lone surrogates) is written the
way Go quotes it, so that one event is always one line and no value can pretend to be another.
"""

from __future__ import annotations

_NAMED = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
}


def escape(text: str) -> str:
    r"""The text with unprintable characters as `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def without_blanks(text: str) -> str:
    r"""The text with blanks as `\x20`: for a value that ends at a blank, such as an address."""
    return text.replace(" ", r"\x20")


def _escaped(character: str) -> str:
    named = _NAMED.get(character)
    if named is not None:
        return named
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
