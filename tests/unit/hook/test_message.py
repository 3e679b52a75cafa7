"""The message as a hook in Python sees it."""

from __future__ import annotations

import time

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


@pytest.mark.parametrize(
    "field",
    [
        b'To: "a b" <',
        b"From: " + b"(" * 2000,
        b"Content-Type: multipart/mixed; boundary=" + b"(" * 2000,
        b"Content-Disposition: attachment; filename*=" + b"(" * 2000,
        b"Content-Type: " + b"a/b; x=y" * 5000,
        b"Subject: =?utf-8?q?" + b"=" * 3000,
        b"Date: \xff\xff",
        b"Message-ID: <",
    ],
)
def test_no_field_makes_the_reader_raise(field: bytes) -> None:
    message = Message(field + b"\nX-After: yes\n\nx\n")
    for read in (message.fields, message.parsed):
        assert read["X-After"] == "yes"
        for name, value in read.items():
            assert isinstance(str(value), str), name
        assert read.get_content_type()
        read.get_filename()
        list(read.walk())
        assert list(read.iter_attachments()) is not None


def test_of_a_field_that_cannot_be_read_the_words_are_kept() -> None:
    message = Message(b"From: lottery (((" + b"(" * 2000 + b"\n\n")
    assert "lottery" in message.fields["From"]


@pytest.mark.alone
def test_a_very_long_field_takes_no_long_time() -> None:
    long = b"To: " + b'"A b" <user@domain.example>, ' * 10_000 + b"\n\n"
    began = time.process_time()
    assert len(Message(long).fields["To"].addresses) > 100
    assert time.process_time() - began < 2
