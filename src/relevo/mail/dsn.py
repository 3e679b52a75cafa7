"""Delivery status notifications: what a sender is told about the fate of a message.

A pure function from facts to one message: a multipart/report (RFC 3462) with a text for people, a
report for programs (RFC 3464) and the original or its header block. Lines end in CRLF. Only when
an address has a local part outside ASCII, and the sender can take it, are the media types of RFC
6533 used, and the DSN itself then needs SMTPUTF8; else domains are written as A-labels, and what
more is outside ASCII as utf-8-addr-xtext.

Commands of pipe targets are never shown: such a recipient appears under the address the sender
used.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from relevo.mail.dsn_facts import (
    DsnAction,
    DsnFacts,
    DsnRecipient,
    ascii_domain,
    ascii_text,
    one_line,
)
from relevo.mail.dsn_text import notification_text
from relevo.mail.header_block import field_values, split_head
from relevo.mail.trace import rfc5322_date

MAX_ATTACHED = 256 * 1024  # octets of the original

_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_MESSAGE_ID = re.compile(rb"<[^\x00-\x20<>\x7f-\xff]{1,250}>")
_DIAGNOSTIC_WIDTH = 200  # characters: below 998 octets a line, whatever they are
_SUBJECTS = {
    DsnAction.FAILED: "Mail delivery failed: returning message to sender",
    DsnAction.DELAYED: "Mail delivery delayed: the message is still being tried",
    DsnAction.DELIVERED: "Mail delivery report: the message was delivered",
    DsnAction.RELAYED: "Mail delivery report: the message was handed on",
    DsnAction.EXPANDED: "Mail delivery report: the message was sent to a list",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A body part of the report."""

    content_type: str
    description: str
    encoding: str
    content: bytes
    is_inline: bool = False

    def render(self) -> bytes:
        disposition = "Content-Disposition: inline\r\n" if self.is_inline else ""
        head = (
            f"Content-Type: {self.content_type}\r\n"
            f"{disposition}"
            f"Content-Description: {self.description}\r\n"
            f"Content-Transfer-Encoding: {self.encoding}\r\n\r\n"
        )
        return head.encode() + self.content


def compose_dsn(facts: DsnFacts) -> bytes:
    """The whole message, to be sent from the null reverse-path to `facts.reverse_path`.

    It needs SMTPUTF8 when `facts.needs_smtputf8` says so, and 8BITMIME otherwise only for the sake
    of what it attaches.
    """
    original = _attached(facts)
    text = notification_text(facts, attached=_attached_sentence(facts, original))
    parts = [
        _Part(
            'text/plain; charset="utf-8"',
            "Notification",
            "8bit",
            text.replace("\n", "\r\n").encode(),
            is_inline=True,
        ),
        _report(facts),
        original,
    ]
    contents = [part.render() for part in parts]
    boundary = _boundary(facts.token, contents)
    delimiter = f"\r\n--{boundary}".encode()
    body = b"".join(delimiter + b"\r\n" + content for content in contents)
    return _header(facts, boundary) + body + delimiter + b"--\r\n"


def _header(facts: DsnFacts, boundary: str) -> bytes:
    """The header block with the blank line; the first delimiter brings one more CRLF."""
    domain = facts.domain if facts.needs_smtputf8 else ascii_domain(facts.domain)
    fields = [
        ("From", f"Mail Delivery System <postmaster-dsn@{domain}>"),
        ("To", f"<{facts.shown(facts.reverse_path)}>"),
        ("Subject", _SUBJECTS[_gravest(facts)]),
        ("Message-ID", f"<relevo-dsn-{facts.token}@{domain}>"),
        ("Date", rfc5322_date(facts.now)),
    ]
    if answered := _original_message_id(facts):
        fields += [("In-Reply-To", answered), ("References", answered)]
    failed = {
        facts.shown(recipient.original)
        for recipient in facts.recipients
        if recipient.action is DsnAction.FAILED
    }
    if failed:
        fields.append(("X-Failed-Recipients", ",\r\n\t".join(sorted(failed))))
    fields += [
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        (
            "Content-Type",
            f'multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        ),
    ]
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


def _report(facts: DsnFacts) -> _Part:
    """The part for programs: fields of the message, then a block of fields a recipient."""
    blocks = ["\r\n".join(_message_fields(facts))]
    blocks += ["\r\n".join(_recipient_fields(facts, recipient)) for recipient in facts.recipients]
    content = "\r\n\r\n".join(blocks) + "\r\n"
    if facts.needs_smtputf8:
        return _Part("message/global-delivery-status", "Delivery Report", "8bit", content.encode())
    return _Part(
        "message/delivery-status", "Delivery Report", "7bit", content.encode("ascii", "replace")
    )


def _message_fields(facts: DsnFacts) -> list[str]:
    fields = [f"Reporting-MTA: dns; {ascii_domain(one_line(facts.hostname))}"]
    if facts.envid:
        fields.append(f"Original-Envelope-Id: {one_line(facts.envid)}")
    fields.append(f"Arrival-Date: {rfc5322_date(facts.arrival)}")
    if facts.deliver_by is not None:
        fields.append(f"Deliver-By-Date: {rfc5322_date(facts.deliver_by)}")
    return fields


def _recipient_fields(facts: DsnFacts, recipient: DsnRecipient) -> list[str]:
    final = facts.shown(recipient.final or recipient.original)
    kind = _kind_of(facts, final)
    given_kind, semicolon, given = recipient.orcpt.partition(";")
    if semicolon and given_kind.isalnum():
        # The type is the sender's; an address of ours that needs it is of type utf-8 (RFC 6533 §3).
        original = facts.shown(given)
        is_address = given_kind.lower() in {"rfc822", "utf-8"}
        original_kind = _kind_of(facts, original) if is_address else given_kind
    else:
        original = facts.shown(recipient.original)
        original_kind = _kind_of(facts, original)
    fields = [
        f"Original-Recipient: {original_kind}; {original}",
        f"Final-Recipient: {kind}; {final}",
        f"Action: {recipient.action.value}",
        f"Status: {recipient.reported_status}",
    ]
    if recipient.remote_mta:
        fields.append(f"Remote-MTA: dns; {ascii_domain(one_line(recipient.remote_mta))}")
    if lines := recipient.diagnostic_lines:
        pieces = [piece for line in lines for piece in textwrap.wrap(line, _DIAGNOSTIC_WIDTH)]
        source = recipient.diagnostic_type
        fields.append(f"Diagnostic-Code: {source}; " + "\r\n    ".join(pieces))
    if recipient.action is DsnAction.DELAYED and facts.will_retry_until is not None:
        fields.append(f"Will-Retry-Until: {rfc5322_date(facts.will_retry_until)}")
    return fields


def _kind_of(facts: DsnFacts, shown: str) -> str:
    """The address type of an address as it is written (RFC 3464 §2.1.2, RFC 6533 §3)."""
    return "utf-8" if facts.needs_smtputf8 or "\\x{" in shown else "rfc822"


def _attached(facts: DsnFacts) -> _Part:
    """The original, cut; or its header block when that was asked for, or nothing else can go."""
    is_utf8 = facts.needs_smtputf8
    content = facts.original[:MAX_ATTACHED]
    # A cut must not leave half a line end behind.
    if len(content) < len(facts.original) and content.endswith(b"\r"):
        content = content[:-1]
    # A BINARYMIME body cannot travel in a DSN, which nothing may need BINARYMIME for.
    if facts.returns_headers_only or _BARE_LINE_END.search(content):
        head = _BARE_LINE_END.sub(b" ", split_head(content)[0])
        content_type = "message/global-headers" if is_utf8 else "text/rfc822-headers"
        return _Part(content_type, "Undelivered Message Headers", "8bit", head)
    content_type = "message/global" if is_utf8 else "message/rfc822"
    return _Part(content_type, "Undelivered Message", "8bit", content)


def _attached_sentence(facts: DsnFacts, part: _Part) -> str:
    if part.content_type.endswith("headers"):
        return "The header of your message is attached."
    if len(part.content) < len(facts.original):
        return f"The first {MAX_ATTACHED // 1024} KiB of your message are attached."
    return "Your message is attached."


def _original_message_id(facts: DsnFacts) -> str:
    """The Message-ID of the original, if it has a usable one."""
    for value in field_values(split_head(facts.original)[0], "Message-ID"):
        if _MESSAGE_ID.fullmatch(value):
            return value.decode("ascii")
    return ""


def _gravest(facts: DsnFacts) -> DsnAction:
    """The action that the subject tells: the first of the enumeration that occurs."""
    actions = {recipient.action for recipient in facts.recipients}
    return next(action for action in DsnAction if action in actions)


def _boundary(token: str, contents: list[bytes]) -> str:
    """A boundary that stands in no part (RFC 2046 §5.1.1)."""
    boundary = f"relevo-{ascii_text(token)[:40]}"
    while any(boundary.encode() in content for content in contents):
        boundary += "-x"
    return boundary
