"""Tag lists: exact, bounded, blanks and folds without meaning."""

from __future__ import annotations

import pytest

from relevo.mailauth.dkim.tags import (
    MAX_LENGTH,
    MAX_TAGS,
    BadTags,
    from_base64,
    number_of,
    octets_of,
    parse_tags,
    text_of,
)


def test_blanks_and_folds_mean_nothing() -> None:
    assert parse_tags(b" v = 1 ;\r\n\ta=\tb c \r\n; x_1=") == {"v": b"1", "a": b"b c", "x_1": b""}


@pytest.mark.parametrize("text", [b"v=1;", b"v=1", b" v=1 ; "])
def test_the_last_semicolon_may_be_there(text: bytes) -> None:
    assert parse_tags(text) == {"v": b"1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"v=1;v=2", "v= occurs twice"),
        (b"v=1;;a=b", "no tag"),
        (b"v", "no tag"),
        (b"=1", "no tag"),
        (b"1v=1", "no tag"),
        (b"v w=1", "no tag"),
        (b"v=\x00", "control"),
        (b"v=" + b"x" * MAX_LENGTH, "too long"),
        (b"".join(b"a%d=1;" % number for number in range(MAX_TAGS + 1)), "too many"),
    ],
)
def test_what_is_no_tag_list_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(BadTags, match=said):
        parse_tags(text)


def test_values_above_ascii_are_taken() -> None:
    assert text_of(parse_tags("i=é@d.test".encode()), "i") == "é@d.test"
    with pytest.raises(BadTags, match="UTF-8"):
        text_of({"i": b"\xff"}, "i")


@pytest.mark.parametrize("value", [b"", b"a b", b"a\r\n\tb"])
def test_text_has_no_blanks_and_is_not_empty(value: bytes) -> None:
    with pytest.raises(BadTags):
        text_of({"d": value}, "d")


def test_base64_may_be_folded_and_must_be_whole() -> None:
    assert from_base64(b"YW\r\n\t Jj", "b") == b"abc"
    for wrong in (b"YWJ", b"YW!j", b"Y-Jj"):
        with pytest.raises(BadTags, match="base64"):
            from_base64(wrong, "b")
    with pytest.raises(BadTags, match="missing"):
        octets_of({}, "b")


def test_numbers_are_plain_and_bounded() -> None:
    assert number_of({"l": b"007"}, "l", digits=3) == 7
    assert number_of({}, "l", digits=3) is None
    for wrong in (b"", b"-1", b"1000", b"1.0", b"0x1", "²".encode()):
        with pytest.raises(BadTags):
            number_of({"l": wrong}, "l", digits=3)
