"""Rewriting of messages for servers that take ASCII lines only."""

from __future__ import annotations

import contextlib
import email
import email.policy
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mail.seven_bit import CannotConvert, quoted_printable, to_seven_bit

TEXT = "Grüße\r\n".encode()
PART = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT
LINE = st.one_of(
    st.sampled_from([b"", b".", b"=", b" ", b"a \t", b"x" * 200, "ü".encode() * 80]),
    st.binary(max_size=90).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b"")),
)
bodies = st.lists(LINE, max_size=8).map(b"\r\n".join)


def multipart(*parts: bytes, kind: str = "mixed", end: bytes = b"--\r\n") -> bytes:
    head = f'From: a@b.test\r\nContent-Type: multipart/{kind}; boundary="=b"\r\n\r\n'.encode()
    return head + b"".join(b"--=b\r\n" + part + b"\r\n" for part in parts) + b"--=b" + end


@given(bodies)
def test_quoted_printable_has_an_inverse(body: bytes) -> None:
    encoded = quoted_printable(body)
    assert encoded.isascii()
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert encoded.count(b"\n") == encoded.count(b"\r\n")
    assert quopri.decodestring(encoded.replace(b"\r\n", b"\n")) == body.replace(b"\r\n", b"\n")


@given(st.lists(bodies, max_size=4))
def test_other_programs_read_the_same_parts(texts: list[bytes]) -> None:
    parts = [b"Content-Type: application/x\r\n\r\n" + text for text in texts]
    converted = to_seven_bit(multipart(*parts))
    assert converted.isascii()
    read = email.message_from_bytes(converted, policy=email.policy.SMTP)
    got = [part.get_payload(decode=True) for part in read.walk() if not part.is_multipart()]
    wanted = [text for text in texts if b"--=b" not in text]
    if len(wanted) == len(texts) and texts:
        normal = [bytes(each).replace(b"\r\n", b"\n") for each in got if isinstance(each, bytes)]
        assert normal == [text.replace(b"\r\n", b"\n") for text in texts]


def test_ascii_stays_octet_by_octet() -> None:
    message = multipart(b"\r\nplain\r\n", b"Content-Type: x/y\r\n\r\nq=3D\r\n")
    assert to_seven_bit(message) is message


def test_a_text_is_encoded_and_its_other_fields_stay() -> None:
    message = b"Subject: s\r\nContent-transfer-encoding: 8BIT\r\nX: y\r\n\r\n" + TEXT
    assert to_seven_bit(message) == (
        b"Subject: s\r\nContent-Transfer-Encoding: quoted-printable\r\nX: y\r\n\r\n"
        b"Gr=C3=BC=C3=9Fe\r\n"
    )


def test_only_the_parts_that_need_it_are_encoded() -> None:
    plain = b"Content-Type: text/plain\r\n\r\n a \r\nb\r\n"
    inner = multipart(plain, PART)
    converted = to_seven_bit(multipart(plain, inner, b"", kind="alternative"))
    assert plain in converted
    assert converted.count(b"quoted-printable") == 1
    assert converted.endswith(b"\r\n--=b\r\n\r\n--=b--\r\n")


def test_a_message_within_a_message() -> None:
    part = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + PART
    converted = to_seven_bit(multipart(part))
    assert b"message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n" in converted
    assert b"Gr=C3=BC" in converted


def test_an_empty_part_between_delimiters_that_share_a_line_end() -> None:
    message = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n\r\n" + TEXT + b"\r\n--b--"
    )
    assert to_seven_bit(message).endswith(
        b"--b\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"Gr=C3=BC=C3=9Fe\r\n\r\n--b--"
    )


def test_what_is_binary_becomes_base64() -> None:
    message = b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0a\nb\xff"
    expected = b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAGEKYv8=\r\n"
    assert to_seven_bit(message) == expected
    assert to_seven_bit(message, keeps_eight_bit=True) == expected
    assert to_seven_bit(PART, keeps_eight_bit=True) is PART


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("Subject: ü\r\n\r\nx\r\n".encode(), "header"),
        (multipart(PART, kind="signed"), "multipart/signed"),
        (multipart(PART, kind="encrypted"), "multipart/encrypted"),
        (multipart(b"Content-Type: message/partial\r\n\r\n" + TEXT), "message/partial"),
        (b"Content-Transfer-Encoding: base64\r\n\r\n" + TEXT, "base64"),
        (b"Content-Type: multipart/mixed\r\n\r\n" + TEXT, "boundary"),
        (multipart(b"", end=b"--\r\n" + TEXT), "between"),
    ],
)
def test_what_cannot_be_rewritten(message: bytes, why: str) -> None:
    with pytest.raises(CannotConvert, match=why):
        to_seven_bit(message)


def test_nesting_is_bounded() -> None:
    message = TEXT
    for _ in range(40):
        message = b"Content-Type: message/rfc822\r\n\r\n" + message
    with pytest.raises(CannotConvert, match="parts"):
        to_seven_bit(message)


@given(st.binary(max_size=300))
def test_any_octets_are_rewritten_or_refused(message: bytes) -> None:
    with contextlib.suppress(CannotConvert):
        assert to_seven_bit(message).isascii()
