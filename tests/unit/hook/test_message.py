"""The message as a hook in Python sees it."""

from __future__ import annotations

import pytest

from relevo.hook import Message


@pytest.mark.parametrize(
    ("octets", "head", "body"),
    [
        (b"A: b\nC: d\n\none\n\ntwo\n", b"A: b\nC: d\n", b"one\n\ntwo\n"),
        (b"\nonly body\n", b"", b"only body\n"),
        (b"A: b\n", b"A: b\n", b""),
    ],
)
def test_head_and_body(octets: bytes, head: bytes, body: bytes) -> None:
    message = Message(octets)
    assert (message.head, message.body) == (head, body)


def test_parsed_fields_and_text() -> None:
    message = Message(b"Subject: =?utf-8?q?h=C3=A9?=\nX: 1\n\ntext\n")
    assert message.fields["Subject"] == "hé"
    assert message.parsed.get_content() == "text\n"
