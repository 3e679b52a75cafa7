"""Lists of what users may send as."""

from __future__ import annotations

import pytest

from relevo.config.convert import BadValue
from relevo.config.submission_rules import allowed_senders, parse_allowed


def test_a_list_is_normalized_and_read() -> None:
    (text,) = allowed_senders(("Ada@BÜCHER.example:  Sales@example.NET @xn--bcher-kva.example *",))
    assert parse_allowed(text) == (
        "ada@bücher.example",
        frozenset({"sales@example.net", "@bücher.example", "*"}),
    )


@pytest.mark.parametrize(
    "text",
    ["", "ada@example.org", "ada@example.org:", "ada: x@y.test", "a@b.test: x", "a@b.test: @"],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        allowed_senders((text,))
