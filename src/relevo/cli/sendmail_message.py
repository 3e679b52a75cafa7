"""The message that a program gives to sendmail: read, completed, its recipients found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import getaddresses
from typing import TYPE_CHECKING

from relevo.mail import check_header, complete_submission, rfc5322_date, split_head
from relevo.mail.header_block import field_values, has_field, remove_fields

if TYPE_CHECKING:
    from typing import BinaryIO

_LINE_END = re.compile(rb"\r\n|\r|\n")
_RECIPIENT_FIELDS = ("To", "Cc", "Bcc")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_SPECIAL = re.compile(r"[^A-Za-z0-9 !#$%&\'*+/=?^_`{|}~-]")


class TooLarge(ValueError):
    """More than the server takes."""


class BadMessage(ValueError):
    """What no server can take; the text says why."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who sends: address, the name for people, login name and id of the process."""

    address: str
    name: str = ""
    user: str = ""
    user_id: int = 0


def read_message(source: BinaryIO, *, limit: int, ignores_dots: bool) -> bytes:
    """The message with CRLF line ends, up to the end, or a dot alone on a line.

    Raises TooLarge above `limit` octets.
    """
    octets = source.read(limit + 1)
    if len(octets) > limit:
        raise TooLarge(f"the message is larger than {limit} octets")
    text = _LINE_END.sub(b"\r\n", octets)
    if not ignores_dots:
        text = b"\r\n" + text
        end = text.find(b"\r\n.\r\n")
        text = text[2:] if end < 0 else text[2 : end + 2]
    if text and not text.endswith(b"\r\n"):
        text += b"\r\n"
    # What does not begin with a field is all body.
    return text if _FIELD.match(text) else b"\r\n" + text.removeprefix(b"\r\n")


def header_recipients(message: bytes) -> list[str]:
    """Addresses of To, Cc and Bcc, as written."""
    head = split_head(message)[0]
    values = [
        value.decode("utf-8", "replace")
        for name in _RECIPIENT_FIELDS
        for value in field_values(head, name)
    ]
    return [address for _, address in getaddresses(values) if address]


def completed(
    message: bytes, writer: Writer, *, message_id: str, hostname: str, now: float
) -> bytes:
    """The message with From, Date, Message-ID and a trace field; without Bcc. Raises BadMessage."""
    problem = check_header(message)
    if problem is not None:
        raise BadMessage(problem.text)
    head, rest = split_head(message)
    if not has_field(head, "From"):
        head += f"From: {_shown(writer)}\r\n".encode()
    head = remove_fields(head, "Return-Path")
    head = complete_submission(head, now=now, message_id=message_id, hostname=hostname)
    return head + (rest or b"\r\n")


def trace_field(writer: Writer, *, message_id: str, hostname: str, now: float) -> bytes:
    """Received of a message that came from a program of this machine."""
    return (
        f"Received: by {hostname} (relevo, from user id {writer.user_id})\r\n"
        f"\tid {message_id}\r\n\t; {rfc5322_date(now)}\r\n"
    ).encode()


def _shown(writer: Writer) -> str:
    """The author for people; a name that needs it is quoted."""
    name = "".join(c for c in writer.name if c.isprintable())
    if not name:
        return writer.address
    if _SPECIAL.search(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{writer.address}>"
