"""The fields of a head by name, and the octets of it that a signature covers (RFC 6376 §5.4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from relevo.mailauth.dkim.canonical import Canonicalization, canonical_field

MAX_LINES = 4000  # of a head whose signatures are looked at; real ones have a tenth

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
# the value of b=, with the blanks around it
_SIGNATURE_VALUE = re.compile(rb"((?:\A|;)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*+")


class TooManyFields(ValueError):
    """The head is larger than signatures are looked for in."""


class HeaderFields:
    """A head, split into its fields."""

    __slots__ = ("_by_name",)

    def __init__(self, head: bytes) -> None:
        """Raises TooManyFields."""
        if head.count(b"\r\n") > MAX_LINES:
            raise TooManyFields(f"the header has more than {MAX_LINES} lines")
        self._by_name: dict[bytes, list[bytes]] = {}
        for raw in _FIELD_END.split(head):
            colon = raw.find(b":")
            if colon > 0:
                name = raw[:colon].rstrip(b" \t").lower()
                self._by_name.setdefault(name, []).append(raw)

    def all(self, name: bytes) -> list[bytes]:
        """The fields of a name (lower case), from the top, without the CRLF behind each."""
        return self._by_name.get(name, [])

    def count(self, name: bytes) -> int:
        """How many there are."""
        return len(self._by_name.get(name, ()))

    def covered(self, names: Iterable[bytes], form: Canonicalization) -> list[bytes]:
        """The canonical fields that a list of names (lower case) stands for.

        A name that occurs again stands for the next field upwards; where there is none, it stands
        for nothing, so that a field that is added later breaks the signature.
        """
        used: dict[bytes, int] = {}
        covered = []
        for name in names:
            fields = self._by_name.get(name, ())
            taken = used.get(name, 0)
            if taken < len(fields):
                used[name] = taken + 1
                covered.append(canonical_field(fields[-1 - taken], form))
        return covered


def without_signature(raw: bytes) -> bytes:
    """A signature's own field as it is signed: with an empty b= tag (RFC 6376 §3.7)."""
    name, colon, value = raw.partition(b":")
    return name + colon + _SIGNATURE_VALUE.sub(rb"\1", value, count=1)


def signed_octets(
    fields: HeaderFields, names: Iterable[bytes], own: bytes, form: Canonicalization
) -> bytes:
    """What the signature is made over; `own` is its field with or without a value of b=."""
    covered = fields.covered(names, form)
    covered.append(canonical_field(without_signature(own), form))
    return b"\r\n".join(covered)
