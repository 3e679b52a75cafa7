"""Verdicts are valid once built; header fields are checked as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.hooks.contract import NO_CHANGES, Accept, Changes, InvalidVerdict, Refuse
from relevo.hooks.contract.verdicts import MAX_TEXT, checked_fields, clean_text, field_names


def test_a_refusal_knows_whether_it_is_permanent() -> None:
    assert Refuse(554, "5.7.1", "no").is_permanent
    assert not Refuse(451, "4.7.1", "later").is_permanent


@pytest.mark.parametrize(
    ("code", "enhanced", "text"),
    [
        pytest.param(250, "2.0.0", "fine", id="positive"),
        pytest.param(354, "3.0.0", "go on", id="intermediate"),
        pytest.param(600, "5.0.0", "no", id="no-class"),
        pytest.param(554, "4.7.1", "no", id="other-class"),
        pytest.param(554, "5.7", "no", id="short-code"),
        pytest.param(554, "", "no", id="no-code"),
        pytest.param(554, "5.7.1", "", id="no-text"),
        pytest.param(554, "5.7.1", "two\nlines", id="two-lines"),
        pytest.param(554, "5.7.1", "x" * (MAX_TEXT + 1), id="too-long"),
    ],
)
def test_a_refusal_that_no_client_could_be_told(code: int, enhanced: str, text: str) -> None:
    with pytest.raises(InvalidVerdict):
        Refuse(code, enhanced, text)


@pytest.mark.parametrize(
    ("given_fields", "expected"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"X: y\n", b"X: y\r\n", id="lf"),
        pytest.param(b"X: y\r\n", b"X: y\r\n", id="crlf"),
        pytest.param(b"X: y", b"X: y\r\n", id="no-end"),
        pytest.param(b"X:\n", b"X:\r\n", id="empty-value"),
        pytest.param(b"X: y\n\tz\nB: c", b"X: y\r\n\tz\r\nB: c\r\n", id="folded"),
        pytest.param("X: ü\n".encode(), "X: ü\r\n".encode(), id="utf-8"),
    ],
)
def test_good_fields_get_crlf(given_fields: bytes, expected: bytes) -> None:
    assert checked_fields(given_fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"\n", id="only-a-line-end"),
        pytest.param(b"hello\n", id="no-colon"),
        pytest.param(b"this is : no\n", id="blank-in-name"),
        pytest.param(b": y\n", id="no-name"),
        pytest.param("Ü: y\n".encode(), id="name-not-ascii"),
        pytest.param(b" X: y\n", id="starts-folded"),
        pytest.param(b"X: y\n\n", id="blank-line-at-end"),
        pytest.param(b"X: y\n\ntext\n", id="blank-line"),
        pytest.param(b"X: y\n \nB: c\n", id="blank-fold"),
        pytest.param(b"X: a\rb\n", id="bare-cr"),
        pytest.param(b"X: a\0b\n", id="nul"),
        pytest.param(b"X: " + b"y" * 996 + b"\n", id="over-998"),
    ],
)
def test_bad_fields_are_refused(fields: bytes) -> None:
    with pytest.raises(InvalidVerdict):
        checked_fields(fields)


@given(st.binary(max_size=200))
def test_whatever_passes_is_whole_fields_with_crlf(fields: bytes) -> None:
    try:
        checked = checked_fields(fields)
    except InvalidVerdict:
        return
    assert b"\n" not in checked.replace(b"\r\n", b"")
    assert b"\r" not in checked.replace(b"\r\n", b"")
    assert b"\r\n\r\n" not in checked
    assert not checked or checked.endswith(b"\r\n")
    assert checked_fields(checked) == checked


@given(st.text(max_size=600))
def test_clean_text_is_one_line_that_fits(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned.isprintable()
    assert len(cleaned.encode()) <= MAX_TEXT
    assert cleaned == cleaned.strip()


def test_field_names_skip_folds() -> None:
    assert field_names(b"X: y\r\n\tz: q\r\nB: c\r\n") == [b"X", b"B"]


def test_summary_names_every_change() -> None:
    changes = Changes(
        add=b"X-A: 1\r\n",
        remove=("X-B",),
        replace=(("Subject", b"Subject: s\r\n"),),
        add_recipients=("a@b",),
        remove_recipients=("c@d",),
        reverse_path="",
        tags=("t",),
    )
    assert changes.summary() == (
        "adds X-A; removes X-B; replaces Subject; adds recipients a@b; removes recipients c@d; "
        "reverse-path <>; tags t"
    )
    assert NO_CHANGES.summary() == ""
    assert Accept().changes.is_none
    assert not changes.is_none
