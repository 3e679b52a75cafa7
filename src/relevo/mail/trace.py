"""Trace fields: Received, Return-Path, Delivered-To (RFC 5321 §4.4), and the date they carry.

Everything rendered is one field with CRLF line ends and no control characters, whatever came from
the client. `Received` is on the path of every message: what does not change within a connection
or a second is cached.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Final

from relevo.mail.tls_names import iana_cipher_name, tls_version_name
from relevo.value import dataclass

PRODUCT = "relevo"

_MAX_HELLO = 255  # RFC 5321 §4.5.3.1.2
_NOT_IN_HELLO = re.compile(r"[^A-Za-z0-9.\-\[\]:]")  # neither a domain nor an address literal
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPED_IN_COMMENT = re.compile(r'(["\\()])')
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


MT_PRIORITY: Final = "MT-Priority"
"""The field that tells the priority where no server says it in MAIL (RFC 6758)."""


@dataclass(frozen=True, slots=True)
class ReceptionFacts:
    """What a Received field says about the arrival of a message."""

    hello_name: str  # as the client sent it
    client_ip: str  # without a port; not shown when authenticated
    is_authenticated: bool
    hostname: str
    protocol: str  # see protocol_name
    tls_version: str  # "TLSv1.3" or "TLS-1.3"; "" on plain text
    tls_cipher: str  # as ssl.SSLSocket.cipher()[0] says
    mode: str  # "SMTP", "submission" or "submission+TLS"
    reverse_path: str  # plain form, "<>" for the null reverse-path
    message_id: str  # of the queue
    time: float  # seconds since the epoch
    priority: int | None = None  # as the client has a right to (RFC 6710)


def received_field(facts: ReceptionFacts) -> bytes:
    """The Received field of an arrival (RFC 5321 §4.4; the tls clause: RFC 8314 §4.3).

    The address of an authenticated client is left out. Recipients never appear: the field is
    shown to all of them.
    """
    opening = _received_opening(
        facts.hello_name, "" if facts.is_authenticated else facts.client_ip, facts.hostname
    )
    tls, over = _received_channel(facts.tls_version, facts.tls_cipher, facts.mode)
    if facts.priority is not None:
        tls += f"\r\n\tPRIORITY {facts.priority}"  # RFC 6710 §5
    return (
        f"{opening} with {facts.protocol} id {facts.message_id}{tls}{over}"
        f'{_comment_text(facts.reverse_path)}")\r\n\t; {rfc5322_date(facts.time)}\r\n'
    ).encode()


def protocol_name(
    *,
    is_esmtp: bool,
    is_tls: bool,
    is_authenticated: bool,
    is_lmtp: bool = False,
    is_smtputf8: bool = False,
) -> str:
    """The `with` keyword (RFC 3848; with SMTPUTF8 in use RFC 6531 §4.3)."""
    if is_smtputf8:
        protocol = "UTF8LMTP" if is_lmtp else "UTF8SMTP"
    elif is_lmtp:
        protocol = "LMTP"
    else:
        protocol = "ESMTP" if is_esmtp else "SMTP"
    return protocol + ("S" if is_tls else "") + ("A" if is_authenticated else "")


def return_path_field(reverse_path: str) -> bytes:
    """Return-Path of a final delivery; `reverse_path` is an address as text, "" or "<>": null."""
    shown = "" if reverse_path == "<>" else reverse_path
    return f"Return-Path: <{_CONTROLS.sub('?', shown)}>\r\n".encode()


def delivered_to_field(address: str) -> bytes:
    """Delivered-To of a final delivery; readers find mail loops by it."""
    return f"Delivered-To: {_CONTROLS.sub('?', address)}\r\n".encode()


def sanitized_hello(name: str) -> str:
    """An EHLO name with only what a domain or an address literal may have (RFC 5321 §4.1.2)."""
    return _NOT_IN_HELLO.sub("", name)[:_MAX_HELLO]


def rfc5322_date(seconds: float) -> str:
    """Date and time with the local zone (RFC 5322 §3.3): `Tue, 24 Nov 2026 07:39:31 +0000`."""
    return _date_of_second(int(seconds))


@lru_cache(maxsize=16)
def _date_of_second(second: int) -> str:
    # Not strftime: day and month names must not follow the locale.
    at = time.localtime(second)
    offset = at.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    hours, minutes = divmod(abs(offset), 60)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {sign}{hours:02}{minutes:02}"
    )


@lru_cache(maxsize=4096)
def _received_opening(hello_name: str, client_ip: str, hostname: str) -> str:
    name = sanitized_hello(hello_name) or "unknown"
    literal = f"IPv6:{client_ip}" if ":" in client_ip else client_ip
    source = f" ([{_CONTROLS.sub('?', literal)}])" if client_ip else ""
    return f"Received: from {name}{source}\r\n\tby {hostname} ({PRODUCT})"


@lru_cache(maxsize=64)
def _received_channel(tls_version: str, tls_cipher: str, mode: str) -> tuple[str, str]:
    """The tls clause with its line, and the comment up to the reverse-path."""
    if not tls_version:
        return "", f'\r\n\t(over {mode}, plain text!, envelope from "'
    return (
        f"\r\n\ttls {iana_cipher_name(tls_cipher)}",
        f'\r\n\t(over {mode}, {tls_version_name(tls_version)}, envelope from "',
    )


def _comment_text(text: str) -> str:
    """Text within quotes within a comment (RFC 5322 §3.2.2): specials escaped, no controls."""
    if '"' in text or "\\" in text or "(" in text or ")" in text:
        text = _ESCAPED_IN_COMMENT.sub(r"\\\1", text)
    if not text.isprintable():
        text = _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return text
