"""Received-SPF and the comments within it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mailauth import SpfIdentity, SpfOutcome, SpfResult, received_spf_field
from relevo.mailauth.comments import MAX_COMMENT, comment, value


@pytest.mark.parametrize("outcome", SpfOutcome)
def test_the_outcome_and_its_reason(outcome: SpfOutcome) -> None:
    result = SpfResult(outcome, "matched ip", SpfIdentity.MAIL_FROM, "d.test")
    assert received_spf_field(result) == f"Received-SPF: {outcome.value} (matched ip)\r\n".encode()


def test_what_would_end_a_comment_is_escaped() -> None:
    assert comment("a (b) \\ c") == r"(a \(b\) \\ c)"


@given(st.text(max_size=700))
def test_a_comment_is_one_line_of_bounded_length(text: str) -> None:
    shown = comment(text)
    assert shown.isprintable()
    assert len(shown) <= 2 * MAX_COMMENT + 2


@pytest.mark.parametrize(
    ("text", "expected"), [("mx.d.test", "mx.d.test"), ("a b", '"a b"'), ('a"\\', '"a\\"\\\\"')]
)
def test_a_value_is_quoted_when_it_must(text: str, expected: str) -> None:
    assert value(text) == expected
