"""Packets of the milter protocol: a length, a letter, data; and the two sides' letters and bits."""

from __future__ import annotations

import struct
from enum import Enum, IntFlag
from typing import Final

from relevo.hooks.services.failures import ServiceFailed

MAX_PACKET: Final = 128 * 1024
"""Octets of a packet that a filter may send."""

BODY_PIECE: Final = 65535
VERSION: Final = 6
OLDEST: Final = 2

_LENGTH = struct.Struct("!I")
_INDEX = struct.Struct("!I")
_OPTIONS = struct.Struct("!III")
HEAD: Final = _LENGTH.size


class _Letter(Enum):
    """Members are single objects: the hash of the object does, and costs a tenth of Enum's own."""

    __hash__ = object.__hash__


class Command(_Letter):
    """What the mail server says."""

    NEGOTIATE = b"O"
    MACROS = b"D"
    CONNECT = b"C"
    HELO = b"H"
    MAIL = b"M"
    RCPT = b"R"
    DATA = b"T"
    HEADER = b"L"
    END_OF_HEADER = b"N"
    BODY = b"B"
    END_OF_MESSAGE = b"E"
    QUIT = b"Q"


class Reply(_Letter):
    """What the filter says."""

    NEGOTIATE = b"O"
    CONTINUE = b"c"
    ACCEPT = b"a"
    REJECT = b"r"
    TEMPFAIL = b"t"
    DISCARD = b"d"
    REPLY_CODE = b"y"
    SHUTDOWN = b"4"
    CONNECTION_FAIL = b"f"
    SKIP = b"s"
    PROGRESS = b"p"
    ADD_HEADER = b"h"
    INSERT_HEADER = b"i"
    CHANGE_HEADER = b"m"
    CHANGE_FROM = b"e"
    ADD_RECIPIENT = b"+"
    ADD_RECIPIENT_WITH = b"2"
    DELETE_RECIPIENT = b"-"
    REPLACE_BODY = b"b"
    QUARANTINE = b"q"


class Action(IntFlag):
    """What a filter may do to a message."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENTS = 0x04
    DELETE_RECIPIENTS = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_FROM = 0x40
    ADD_RECIPIENTS_WITH = 0x80
    SET_MACROS = 0x100


class Step(IntFlag):
    """Steps that a filter does not want (NO_), or does not answer (SILENT_), and habits."""

    NO_CONNECT = 0x1
    NO_HELO = 0x2
    NO_MAIL = 0x4
    NO_RCPT = 0x8
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADER = 0x40
    SILENT_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADER = 0x40000
    SILENT_BODY = 0x80000
    LEADING_SPACE = 0x100000


LETTERS: Final = {command: command.value for command in Command}
_REPLIES: Final = {reply.value: reply for reply in Reply}

ALL_ACTIONS: Final = Action(0x1FF)
ALL_STEPS: Final = Step(sum(Step))


def packet(command: Command, data: bytes = b"") -> bytes:
    """One packet."""
    return _LENGTH.pack(len(data) + 1) + LETTERS[command] + data


def length_of(head: bytes) -> int:
    """Octets that follow. Raises ServiceFailed."""
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= MAX_PACKET:
        raise ServiceFailed(f"it sent a packet of {length} octets")
    return int(length)


def split_reply(octets: bytes) -> tuple[Reply, bytes]:
    """A packet without its length. Raises ServiceFailed."""
    reply = _REPLIES.get(octets[:1])
    if reply is None:
        raise ServiceFailed(f"it sent a reply that there is not: {octets[:1]!r}")
    return reply, octets[1:]


def strings(data: bytes, least: int, most: int = 1000) -> list[bytes]:
    """Strings with a zero octet behind each. Raises ServiceFailed."""
    found = data.split(b"\0")
    if found.pop() or not least <= len(found) <= most:
        raise ServiceFailed("it sent a packet whose strings are broken")
    return found


def indexed(data: bytes) -> tuple[int, bytes]:
    """A number, and what follows it. Raises ServiceFailed."""
    if len(data) < _INDEX.size:
        raise ServiceFailed("it sent a packet that is too short")
    return int(_INDEX.unpack_from(data)[0]), data[_INDEX.size :]


def offer() -> bytes:
    """What is proposed: everything."""
    return packet(Command.NEGOTIATE, _OPTIONS.pack(VERSION, ALL_ACTIONS, ALL_STEPS))


def options(data: bytes) -> tuple[int, int, int, bytes]:
    """Version, actions, steps of the filter, and its lists of macros. Raises ServiceFailed."""
    if len(data) < _OPTIONS.size:
        raise ServiceFailed("its negotiation is too short")
    version, actions, steps = _OPTIONS.unpack_from(data)
    return version, actions, steps, data[_OPTIONS.size :]
