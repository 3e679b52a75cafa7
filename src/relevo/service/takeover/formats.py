"""The files of a chasquid data directory: queue items and security levels, in text format.

Zero values are left out in them. A field that is not known, or has another type, makes the file
unreadable: what a later chasquid means by it cannot be guessed, and the file is left where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from typing import NoReturn, TypeVar

from relevo.config.textproto import Bare, Field, Message, Quoted, TextProtoError, Value, parse

MAX_FILE_SIZE = 512 * 1024 * 1024
"""Largest file read, octets: a message of 50 MiB of which each octet is written as an escape."""

ITEM_PREFIX = "m:"
LEVEL_PREFIX = "s:"


class Unreadable(Exception):
    """A file that is not in the format; the text says where and why."""


class RecipientType(IntEnum):
    """What an item's recipient is."""

    EMAIL = 0
    PIPE = 1
    FORWARD = 2


class Status(IntEnum):
    """Where an item's recipient stands."""

    PENDING = 0
    SENT = 1
    FAILED = 2


class Level(IntEnum):
    """A security level, as chasquid numbers them."""

    PLAIN = 0
    TLS_CLIENT = 1
    TLS_INSECURE = 2
    TLS_SECURE = 3


@dataclass(slots=True)
class ItemRecipient:
    """One expanded recipient of an item."""

    address: str = ""
    type: RecipientType = RecipientType.EMAIL
    status: Status = Status.PENDING
    last_failure_message: str = ""
    original_address: str = ""
    via: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Item:
    """A message of chasquid's queue. `reverse_path` is `<>` for the null reverse-path."""

    id: str = ""
    reverse_path: str = ""
    forward_paths: list[str] = field(default_factory=list)
    recipients: list[ItemRecipient] = field(default_factory=list)
    data: bytes = b""
    created: float = 0.0


@dataclass(slots=True)
class DomainLevels:
    """The levels of a domain."""

    name: str = ""
    incoming: Level = Level.PLAIN
    outgoing: Level = Level.PLAIN


E = TypeVar("E", bound=Enum)


def read_item(path: Path) -> Item:
    """Raises Unreadable."""
    item = Item()
    for name, value in _fields(_tree(path)):
        match name:
            case "ID":
                item.id = _text(value)
            case "from":
                item.reverse_path = _text(value)
            case "To":
                item.forward_paths.append(_text(value))
            case "rcpt":
                item.recipients.append(_recipient(value))
            case "data":
                item.data = _octets(value)
            case "created_at_ts":
                item.created = _timestamp(value)
            case _:
                _fail(value, f"there is no field {name}")
    if not item.id or not item.created:
        raise Unreadable(f"{path}: has no {'creation time' if item.id else 'ID'}")
    return item


def read_levels(path: Path) -> DomainLevels:
    """Raises Unreadable."""
    found = DomainLevels()
    for name, value in _fields(_tree(path)):
        match name:
            case "name":
                found.name = _text(value)
            case "incoming_sec_level":
                found.incoming = _choice(value, Level)
            case "outgoing_sec_level":
                found.outgoing = _choice(value, Level)
            case _:
                _fail(value, f"there is no field {name}")
    return found


def _recipient(value: Value) -> ItemRecipient:
    recipient = ItemRecipient()
    for name, inner in _fields(_message(value)):
        match name:
            case "address":
                recipient.address = _text(inner)
            case "type":
                recipient.type = _choice(inner, RecipientType)
            case "status":
                recipient.status = _choice(inner, Status)
            case "last_failure_message":
                recipient.last_failure_message = _text(inner)
            case "original_address":
                recipient.original_address = _text(inner)
            case "via":
                recipient.via.append(_text(inner))
            case _:
                _fail(inner, f"there is no field {name}")
    return recipient


def _timestamp(value: Value) -> float:
    seconds, nanoseconds = 0, 0
    for name, inner in _fields(_message(value)):
        match name:
            case "seconds":
                seconds = _integer(inner)
            case "nanos":
                nanoseconds = _integer(inner)
            case _:
                _fail(inner, f"there is no field {name}")
    return seconds + nanoseconds / 1e9


def _tree(path: Path) -> Message:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE_SIZE:
        raise Unreadable(f"{path}: larger than {MAX_FILE_SIZE} octets")
    try:
        return parse(data, str(path))
    except TextProtoError as error:
        raise Unreadable(str(error)) from error


def _fields(message: Message) -> Iterator[tuple[str, Value]]:
    """Names with values; a list counts as that many fields."""
    found: Field
    for found in message.fields:
        for value in found.values:
            yield found.name, value


def _message(value: Value) -> Message:
    return value if isinstance(value, Message) else _fail(value, "a message in braces is missing")


def _octets(value: Value) -> bytes:
    return value.data if isinstance(value, Quoted) else _fail(value, "a string is missing")


def _text(value: Value) -> str:
    return _octets(value).decode("utf-8", "replace")


def _integer(value: Value) -> int:
    number = value.integer() if isinstance(value, Bare) else None
    return number if number is not None else _fail(value, "a number is missing")


def _choice(value: Value, kind: type[E]) -> E:
    """By name or by number."""
    if isinstance(value, Bare):
        if value.text in kind.__members__:
            return kind[value.text]
        number = value.integer()
        if number in {one.value for one in kind}:
            return kind(number)
    return _fail(value, f"one of {', '.join(kind.__members__)} is missing")


def _fail(value: Value, text: str) -> NoReturn:
    raise Unreadable(f"line {value.line}, column {value.column}: {text}")
