"""PLAIN and LOGIN without I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.authn.sasl import MAX_RESPONSE, Claim, LoginConversation, PlainConversation
from relevo.authn.steps import Challenge, Malformed
from relevo.mail.address import Address

USER = Claim(Address("user", "d1.test"), b"secret")


@pytest.mark.case("S37")
@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"user@d1.test\0\0secret", id="authzid only"),
        pytest.param(b"\0user@d1.test\0secret", id="authcid only"),
        pytest.param(b"user@d1.test\0user@d1.test\0secret", id="both equal"),
        pytest.param(b"\0USER@D1.TEST\0secret", id="normalized", marks=pytest.mark.case("S41")),
    ],
)
def test_plain_responses(response: bytes) -> None:
    assert PlainConversation().step(response) == USER


@pytest.mark.case("S36")
def test_plain_without_initial_response_asks_for_it() -> None:
    conversation = PlainConversation()
    assert conversation.step(None) == Challenge(b"")
    assert conversation.step(b"\0user@d1.test\0secret") == USER


@pytest.mark.case("S38")
@pytest.mark.parametrize(
    ("response", "detail"),
    [
        pytest.param(b"a@d1.test\0b@d1.test\0x", "another identity", id="ids differ"),
        pytest.param(b"\0user@d1.test", "three parts", id="no password"),
        pytest.param(b"\0user@d1.test\0x\0y", "three parts", id="too many parts"),
        pytest.param(b"", "three parts", id="empty"),
        pytest.param(b"\0\0x", "user@domain", id="no id"),
        pytest.param(b"\0us er@d1.test\0x", "characters", id="blank in user"),
        pytest.param(b"\0\xff@d1.test\0x", "UTF-8", id="not UTF-8"),
        pytest.param(b"\0user@d1.test\0" + b"x" * MAX_RESPONSE, "longer than", id="long"),
    ],
)
def test_malformed_plain_responses(response: bytes, detail: str) -> None:
    outcome = PlainConversation().step(response)
    assert isinstance(outcome, Malformed)
    assert detail in outcome.detail


@pytest.mark.case("S35")
def test_login_asks_for_name_and_password() -> None:
    conversation = LoginConversation()
    assert conversation.step(None) == Challenge(b"Username:")
    assert conversation.step(b"user@d1.test") == Challenge(b"Password:")
    assert conversation.step(b"secret") == USER


def test_login_takes_the_name_as_initial_response() -> None:
    conversation = LoginConversation()
    assert conversation.step(b"user@d1.test") == Challenge(b"Password:")
    assert conversation.step(b"secret") == USER


@pytest.mark.parametrize("name", [b"", b"user", b"\xff@d1.test", b"x" * (MAX_RESPONSE + 1)])
def test_malformed_login_names(name: bytes) -> None:
    assert isinstance(LoginConversation().step(name), Malformed)


def test_a_login_password_is_bounded() -> None:
    conversation = LoginConversation()
    conversation.step(b"user@d1.test")
    assert isinstance(conversation.step(b"x" * (MAX_RESPONSE + 1)), Malformed)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(USER)


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"\0", b"@", b"a", b"."])).map(b"".join))
def test_any_response_has_an_outcome(data: bytes) -> None:
    for conversation in (PlainConversation(), LoginConversation()):
        assert isinstance(conversation.step(data), Challenge | Claim | Malformed)
