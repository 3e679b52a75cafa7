"""Tag lists: `v=1; a=rsa-sha256; d=example.org` (RFC 6376 §3.2), bounded and exact.

Blanks and line ends around names and values mean nothing. Values are any octets but controls and
`;`, those above ASCII too (RFC 8616 §5).
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache

MAX_LENGTH = 16 * 1024  # octets of a whole list
MAX_TAGS = 64
_CACHED_NAME = 32

_BLANKS = b" \t\r\n"
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*+")
_TEXT = re.compile(rb"[\x20-\x7e\x80-\xff\t\r\n]*+")
_ANY_BLANK = re.compile(r"\s")


class BadTags(ValueError):
    """Not a tag list, or a value that is not what its tag holds; the text is printable ASCII."""


Tags = dict[str, bytes]


def parse_tags(text: bytes) -> Tags:
    """Values by tag, blanks around them removed. Raises BadTags."""
    if len(text) > MAX_LENGTH:
        raise BadTags("the tag list is too long")
    parts = text.split(b";", MAX_TAGS + 1)
    if len(parts) > MAX_TAGS:
        raise BadTags("the tag list has too many tags")
    if not parts[-1].strip(_BLANKS):
        parts.pop()
    has_controls = not _TEXT.fullmatch(text)
    tags: Tags = {}
    for part in parts:
        name, equals, value = part.partition(b"=")
        tag = _tag_name(name) if equals else ""
        if not tag:
            raise BadTags("the tag list has a part that is no tag")
        if tag in tags:
            raise BadTags(f"the tag {tag[:20]}= occurs twice")
        if has_controls and not _TEXT.fullmatch(value):
            raise BadTags(f"the tag {tag[:20]}= has a control character")
        tags[tag] = value.strip(_BLANKS)
    return tags


def _tag_name(octets: bytes) -> str:
    """A name without the blanks around it, "" when it is none."""
    if len(octets) > _CACHED_NAME:
        return _read_name(octets)
    return _known_name(octets)


def _read_name(octets: bytes) -> str:
    name = octets.strip(_BLANKS)
    return name.decode("ascii") if _NAME.fullmatch(name) else ""


_known_name = lru_cache(maxsize=512)(_read_name)


def required(tags: Tags, name: str) -> bytes:
    """The value of a tag that must be there and must not be empty. Raises BadTags."""
    value = tags.get(name, b"")
    if not value:
        raise BadTags(f"the tag {name}= is missing")
    return value


def text_of(tags: Tags, name: str) -> str:
    """The value of a tag that must be there, as text without blanks. Raises BadTags."""
    try:
        text = required(tags, name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadTags(f"the tag {name}= is not UTF-8") from error
    if _ANY_BLANK.search(text):
        raise BadTags(f"the tag {name}= has blanks in it")
    return text


def octets_of(tags: Tags, name: str) -> bytes:
    """The value of a base64 tag that must be there, decoded. Raises BadTags."""
    return from_base64(required(tags, name), name)


def from_base64(value: bytes, name: str) -> bytes:
    """Decoded, with the blanks that folding brings left out. Raises BadTags."""
    try:
        return base64.b64decode(value.translate(None, _BLANKS), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadTags(f"the tag {name}= is not base64") from error


def number_of(tags: Tags, name: str, *, digits: int) -> int | None:
    """The value of an unsigned decimal tag, None where it is missing. Raises BadTags."""
    if name not in tags:
        return None
    value = tags[name]
    if not value.isdigit() or len(value) > digits:
        raise BadTags(f"the tag {name}= is not a number")
    return int(value)


def list_of(value: bytes) -> list[bytes]:
    """The parts of a colon-separated value, blanks around them removed, lower case."""
    return [part.strip(_BLANKS).lower() for part in value.split(b":")]
