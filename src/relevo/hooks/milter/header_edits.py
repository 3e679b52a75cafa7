"""The header as a filter changes it, field by field; what it gives is checked and encoded anew."""

from __future__ import annotations

from dataclasses import dataclass

from relevo.hooks.contract.verdicts import HeadEdit, InvalidVerdict, checked_fields

MAX_EDITS = 1000


@dataclass(slots=True)
class _Field:
    name: bytes  # in lower case
    octets: bytes  # the whole field with its CRLF


class HeaderEdits:
    """Changes of one header, in the order in which the filter asks for them."""

    def __init__(self, head: bytes, *, keeps_space: bool) -> None:
        """`head`: whole fields, CRLF; `keeps_space`: values have the blank behind the colon."""
        self._fields = [_Field(name.lower(), octets) for name, octets in split_head(head)]
        self._keeps_space = keeps_space
        self._done: list[str] = []

    def append(self, name: bytes, value: bytes) -> None:
        """At the end. Raises InvalidVerdict, as all do."""
        self._fields.append(self._made(name, value))
        self._note("adds", name)

    def insert(self, index: int, name: bytes, value: bytes) -> None:
        """So that it is the one with this index, from 0; behind the last one for a larger one."""
        self._fields.insert(min(index, len(self._fields)), self._made(name, value))
        self._note("adds", name)

    def change(self, index: int, name: bytes, value: bytes) -> None:
        """The one of this name with this index, from 1; without a value it goes.

        Where there is none it is added, as filters expect.
        """
        wanted = name.lower()
        found = [at for at, field in enumerate(self._fields) if field.name == wanted]
        at = found[max(index, 1) - 1] if len(found) >= max(index, 1) else None
        if not value:
            if at is not None:
                del self._fields[at]
                self._note("removes", name)
            return
        made = self._made(name, value)
        if at is None:
            self._fields.append(made)
            self._note("adds", name)
        else:
            self._fields[at] = made
            self._note("replaces", name)

    def result(self) -> HeadEdit | None:
        """The header that came of it; None: it is as it was."""
        if not self._done:
            return None
        return HeadEdit(b"".join([field.octets for field in self._fields]), "; ".join(self._done))

    def _note(self, what: str, name: bytes) -> None:
        if len(self._done) >= MAX_EDITS:
            raise InvalidVerdict(f"it changes the header more than {MAX_EDITS} times")
        self._done.append(f"{what} {name.decode('ascii', 'replace')}")

    def _made(self, name: bytes, value: bytes) -> _Field:
        first, *others = value.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
        if any(line[:1] not in {b" ", b"\t"} for line in others):
            raise InvalidVerdict("a header field has a line that continues none")
        colon = b":" if self._keeps_space else b": "
        octets = checked_fields(b"\n".join([name + colon + first, *others]))
        return _Field(name.lower(), octets)


def split_head(head: bytes) -> list[tuple[bytes, bytes]]:
    """Name and octets of each field of a header that was checked; folded lines stay together."""
    fields: list[tuple[bytes, bytes]] = []
    start = 0
    while start < len(head):
        end = head.find(b"\r\n", start) + 2
        while end > 1 and head[end : end + 1] in {b" ", b"\t"}:
            end = head.find(b"\r\n", end) + 2
        if end < 2:  # the last line has no end
            end = len(head)
        octets = head[start:end]
        fields.append((octets.partition(b":")[0].rstrip(b" \t"), octets))
        start = end
    return fields
