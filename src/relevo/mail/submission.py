"""What a submission server completes in the mail of its own users (RFC 6409 §8).

Only for authenticated sessions: a message from elsewhere is never repaired.
"""

from __future__ import annotations

from relevo.mail.header_block import has_field, remove_fields
from relevo.mail.trace import rfc5322_date

_CONFIDENTIAL = ("Bcc", "Resent-Bcc")  # RFC 5322 §3.6.3: names who must stay unnamed


def complete_submission(head: bytes, *, now: float, message_id: str, hostname: str) -> bytes:
    """The head with Date and Message-ID where they are missing, and without Bcc.

    `now` in seconds since the epoch; `message_id` is the queue's and must be good for the left
    side of a Message-ID. What is added stands on top, so that the fields of the client keep their
    octets and their order.
    """
    head = remove_fields(head, *_CONFIDENTIAL)
    added = ""
    if not has_field(head, "Date"):
        added += f"Date: {rfc5322_date(now)}\r\n"
    if not has_field(head, "Message-ID"):
        added += f"Message-ID: <{message_id}@{hostname}>\r\n"
    return added.encode() + head
