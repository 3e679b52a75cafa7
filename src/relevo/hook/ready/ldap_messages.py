"""The part of LDAP (RFC 4511) that a search needs: messages as octets, without I/O.

Simple bind, search with a filter (RFC 4515: and, or, not, presence, equality and substrings), and
reading what a server answers. Lengths are bounded by whoever reads the octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BIND_RESPONSE, SEARCH_ENTRY, SEARCH_DONE, SEARCH_REFERENCE = 0x61, 0x64, 0x65, 0x73
SUCCESS, NO_SUCH_OBJECT = 0, 32
SCOPES = {"base": 0, "one": 1, "sub": 2}
_SPECIAL = re.compile(r"[\0-\x1f()*\\]")
_MAX_LENGTH_OCTETS = 4
_MAX_DEPTH = 20


class BadFilter(ValueError):
    """A filter that cannot be read; the text says where."""


class BadMessage(ValueError):
    """Octets that are no LDAP message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: `tag` is its kind, `body` what stands in it."""

    number: int
    tag: int
    body: bytes


def bind_request(number: int, name: str, password: str) -> bytes:
    """Who asks; both empty: anybody."""
    body = _integer(3) + _octets(name) + _element(0x80, password.encode())
    return _message(number, _element(0x60, body))


def search_request(
    number: int, base: str, scope: str, wanted: str, attributes: Sequence[str], *, limit: int
) -> bytes:
    """A search for at most `limit` entries. Raises BadFilter."""
    body = b"".join(
        (
            _octets(base),
            _element(0x0A, bytes([SCOPES[scope]])),
            _element(0x0A, b"\3"),  # aliases are followed always
            _integer(limit),
            _integer(0),
            _element(0x01, b"\0"),
            filter_octets(wanted),
            _element(0x30, b"".join(map(_octets, attributes))),
        )
    )
    return _message(number, _element(0x63, body))


def unbind_request(number: int) -> bytes:
    """The end."""
    return _message(number, _element(0x42, b""))


def escaped(value: str) -> str:
    """A value as it may stand in a filter, whatever it holds (RFC 4515 §3)."""
    return _SPECIAL.sub(lambda match: f"\\{ord(match[0]):02x}", value)


def filter_octets(text: str) -> bytes:
    """A filter. Raises BadFilter."""
    octets, end = _filter(text, 0, 0)
    if end != len(text):
        raise BadFilter(f"filter {text!r} goes on behind its end")
    return octets


def messages(buffer: bytearray) -> Iterator[Message]:
    """Take the complete messages off the start of the buffer. Raises BadMessage."""
    while (whole := _whole(buffer)) is not None:
        start, end = whole
        tag, number, rest = _read(bytes(buffer[start:end]))
        if tag != 0x02:
            raise BadMessage("a message does not start with its number")
        tag, body, _ = _read(rest)
        del buffer[:end]
        yield Message(int.from_bytes(number, "big"), tag, body)


def result_of(body: bytes) -> tuple[int, str]:
    """Code and text of a response. Raises BadMessage."""
    _, code, rest = _read(body)
    _, _, rest = _read(rest)
    _, text, _ = _read(rest)
    return int.from_bytes(code, "big"), text.decode("utf-8", "replace")


def values_of(body: bytes) -> dict[str, list[str]]:
    """The attributes of an entry, by their names in small letters. Raises BadMessage."""
    _, _, rest = _read(body)
    _, attributes, _ = _read(rest)
    found: dict[str, list[str]] = {}
    while attributes:
        _, attribute, attributes = _read(attributes)
        _, name, rest = _read(attribute)
        _, values, _ = _read(rest)
        texts = found.setdefault(name.decode("utf-8", "replace").lower(), [])
        while values:
            _, value, values = _read(values)
            texts.append(value.decode("utf-8", "replace"))
    return found


def _filter(text: str, at: int, depth: int) -> tuple[bytes, int]:
    """The filter that starts there, and where it ends."""
    if depth > _MAX_DEPTH or text[at : at + 1] != "(":
        raise BadFilter(f"filter {text!r}: no ( at {at}")
    sign = text[at + 1 : at + 2]
    if sign in {"&", "|", "!"}:
        parts, at = [], at + 2
        while text[at : at + 1] == "(":
            part, at = _filter(text, at, depth + 1)
            parts.append(part)
        if text[at : at + 1] != ")" or not parts or (sign == "!" and len(parts) > 1):
            raise BadFilter(f"filter {text!r}: no ) at {at}")
        return _element({"&": 0xA0, "|": 0xA1, "!": 0xA2}[sign], b"".join(parts)), at + 1
    end = text.find(")", at)
    name, equals, value = text[at + 1 : end].partition("=")
    if end < 0 or not equals or not re.fullmatch(r"[A-Za-z][\w.;-]*", name):
        raise BadFilter(f"filter {text!r}: nothing like (name=value) at {at}")
    return _item(name, value), end + 1


def _item(name: str, value: str) -> bytes:
    if value == "*":
        return _element(0x87, name.encode())
    parts = [_unescaped(part) for part in value.split("*")]
    if len(parts) == 1:
        return _element(0xA3, _octets(name) + _element(0x04, parts[0]))
    first, *middle, last = parts
    pieces = [_element(0x80, first)] if first else []
    pieces += [_element(0x81, part) for part in middle if part]
    pieces += [_element(0x82, last)] if last else []
    return _element(0xA4, _octets(name) + _element(0x30, b"".join(pieces)))


def _unescaped(text: str) -> bytes:
    return re.sub(
        rb"\\([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode()
    )


def _message(number: int, operation: bytes) -> bytes:
    return _element(0x30, _integer(number) + operation)


def _integer(value: int) -> bytes:
    return _element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _octets(text: str) -> bytes:
    return _element(0x04, text.encode())


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _head(octets: bytes | bytearray) -> tuple[int, int] | None:
    """Where an element's content starts, and its length; None: more octets are needed."""
    if len(octets) < 2:
        return None
    size = octets[1]
    if size < 0x80:
        return 2, size
    count = size & 0x7F
    if not 0 < count <= _MAX_LENGTH_OCTETS:
        raise BadMessage("an element is of no length, or too long")
    if len(octets) < 2 + count:
        return None
    return 2 + count, int.from_bytes(octets[2 : 2 + count], "big")


def _whole(buffer: bytearray) -> tuple[int, int] | None:
    if buffer and buffer[0] != 0x30:
        raise BadMessage("it is no message")
    head = _head(buffer)
    if head is None or len(buffer) < sum(head):
        return None
    return head[0], sum(head)


def _read(octets: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content, and what follows."""
    head = _head(octets)
    if head is None or len(octets) < sum(head):
        raise BadMessage("an element is longer than what it stands in")
    start, size = head
    return octets[0], octets[start : start + size], octets[start + size :]
