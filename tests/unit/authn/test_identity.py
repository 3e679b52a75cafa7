"""Login names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.authn.identity import InvalidIdentity, parse_identity
from relevo.mail.address import Address


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        pytest.param("user@d1.test", Address("user", "d1.test"), id="as it is"),
        pytest.param(
            "USER@D1.TEST", Address("user", "d1.test"), id="case", marks=pytest.mark.case("S41")
        ),
        pytest.param(
            "us.er+x@d1.test",
            Address("us.er+x", "d1.test"),
            id="dots and suffix stay",
            marks=pytest.mark.case("S42"),
        ),
        pytest.param("ñ@XN--and-6ma2c.test", Address("ñ", "ñandú.test"), id="A-label"),
        pytest.param("a@b@d1.test", Address("a@b", "d1.test"), id="last at sign"),
    ],
)
def test_identities_are_normalized(text: str, identity: Address) -> None:
    assert parse_identity(text) == identity


@pytest.mark.case("S38")
@pytest.mark.parametrize(
    ("text", "detail"),
    [
        pytest.param("", "user@domain", id="empty"),
        pytest.param("user", "user@domain", id="no domain"),
        pytest.param("user@", "user@domain", id="empty domain"),
        pytest.param("@d1.test", "user@domain", id="empty user"),
        pytest.param("us er@d1.test", "user name", id="blank"),
        pytest.param("us\u200der@d1.test", "user name", id="ZWJ"),
        pytest.param("user@a/b", "domain name", id="no domain name"),
    ],
)
def test_what_is_no_identity_is_told_in_plain_words(text: str, detail: str) -> None:
    with pytest.raises(InvalidIdentity, match=detail):
        parse_identity(text)


@given(st.text(max_size=20) | st.text("a@.[]-", max_size=12))
def test_any_text_is_an_identity_or_refused(text: str) -> None:
    try:
        identity = parse_identity(text)
    except InvalidIdentity:
        return
    assert parse_identity(identity.plain) == identity
