"""Names as they are asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.dns.names import MAX_NAME, BadName, ask_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("_spf.example.org", "_spf.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("with blank.example", "with blank.example"),
        (r"back\slash.example", r"back\slash.example"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
    ],
)
def test_a_name_has_one_form(text: str, name: str) -> None:
    assert ask_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a" * 64,
        "a.\x7f",
        "a\n.b",
        "ab." * 85,
        "☃\u200b..x",
        "\ud800.x",
    ],
)
def test_what_dns_cannot_be_asked_for_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        ask_name(text)


@given(st.text(max_size=300))
def test_any_text_gives_a_name_or_a_refusal(text: str) -> None:
    try:
        name = ask_name(text)
    except BadName:
        return
    assert name.isascii()
    assert 0 < len(name) <= MAX_NAME
    assert all(0 < len(label) <= 63 for label in name.split("."))
    assert ask_name(name) == name
