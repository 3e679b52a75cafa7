"""Drop characters and suffixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.directory.local_part import LocalPartRules

characters = st.text("ab.+-^]\\*", max_size=8)


@pytest.mark.parametrize(
    ("separators", "drop", "local", "exact", "cleaned"),
    [
        pytest.param("+", ".", "user", "user", "user", id="nothing to do"),
        pytest.param("+", ".", "u.s.er", "user", "user", id="drop"),
        pytest.param("+", ".", "u.ser+ta.g", "user+ta.g", "user", id="no drop in the suffix"),
        pytest.param("+", ".", "user+a+b", "user+a+b", "user", id="first separator"),
        pytest.param("+-", ".", "us.er-x+y", "user-x+y", "user", id="either separator"),
        pytest.param("+", ".", "+foo", "+foo", "", id="only a suffix"),
        pytest.param("", ".", "u.ser+x", "user+x", "user+x", id="suffixes off"),
        pytest.param("+", "", "u.ser+x", "u.ser+x", "u.ser", id="drop off"),
        pytest.param("^-]", "\\", "a\\b]c", "ab]c", "ab", id="characters special to patterns"),
    ],
)
def test_exact_and_cleaned(
    separators: str, drop: str, local: str, exact: str, cleaned: str
) -> None:
    rules = LocalPartRules(separators, drop)
    assert (rules.exact(local), rules.cleaned(local)) == (exact, cleaned)


@given(characters, characters, characters)
def test_cleaning_twice_is_cleaning_once(separators: str, drop: str, local: str) -> None:
    rules = LocalPartRules(separators, drop)
    assert rules.cleaned(rules.cleaned(local)) == rules.cleaned(local)
    assert rules.exact(rules.exact(local)) == rules.exact(local)
    assert rules.cleaned(rules.exact(local)) == rules.cleaned(local)
