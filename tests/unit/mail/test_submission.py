"""Submitted mail is completed, and blind copies stay blind."""

from __future__ import annotations

import pytest

from relevo.mail.submission import complete_submission
from relevo.mail.trace import rfc5322_date

NOW = 1795505971.0
DATE = f"Date: {rfc5322_date(NOW)}\r\n".encode()
MESSAGE_ID = b"Message-ID: <id1@mx.test>\r\n"


def complete(head: bytes) -> bytes:
    return complete_submission(head, now=NOW, message_id="id1", hostname="mx.test")


@pytest.mark.parametrize(
    ("head", "completed"),
    [
        pytest.param(b"A: b\r\n", DATE + MESSAGE_ID + b"A: b\r\n", id="both missing"),
        pytest.param(b"date : x\r\n", MESSAGE_ID + b"date : x\r\n", id="has a date"),
        pytest.param(b"MESSAGE-ID: <x@y>\r\n", DATE + b"MESSAGE-ID: <x@y>\r\n", id="has an id"),
        pytest.param(b"", DATE + MESSAGE_ID, id="no fields at all"),
        pytest.param(
            b"X: Date:\r\n Date: y\r\n",
            DATE + MESSAGE_ID + b"X: Date:\r\n Date: y\r\n",
            id="only looks like a date",
        ),
    ],
)
def test_missing_fields_are_added_on_top(head: bytes, completed: bytes) -> None:
    assert complete(head) == completed


def test_complete_head_keeps_its_octets() -> None:
    head = b"Subject:  x \r\n\ty\r\nMessage-Id:<1@y>\r\nDate: z\r\nTo: \xff\r\n"
    assert complete(head) == head


def test_blind_copies_are_removed() -> None:
    head = b"Date: x\r\nBcc: a@b,\r\n c@d\r\nMessage-ID: <1@y>\r\nresent-bcc: e@f\r\nTo: g@h\r\n"
    assert complete(head) == b"Date: x\r\nMessage-ID: <1@y>\r\nTo: g@h\r\n"
