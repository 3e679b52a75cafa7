"""Addresses of forwarded mail, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mail import Address, parse_address
from relevo.mail.srs import MAX_AGE_DAYS, MAX_LOCAL, NotOurs, back, forward, is_srs

SECRET = b"s" * 32
TODAY = 20_000


def made(sender: str, ours: str = "ours.test") -> Address:
    found = forward(parse_address(sender), ours, secret=SECRET, day=TODAY)
    assert found is not None
    return found


def test_an_address_goes_there_and_back() -> None:
    address = made("Ada.L@example.org")
    assert address.domain == "ours.test"
    assert address.local.startswith("SRS0=")
    assert address.local.endswith("=example.org=Ada.L")
    assert back(address.local, secret=SECRET, day=TODAY) == Address("Ada.L", "example.org")


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_case_that_other_servers_changed_does_no_harm(change: object) -> None:
    assert callable(change)
    local = change(made("ada@example.org").local)
    assert back(local, secret=SECRET, day=TODAY).plain.lower() == "ada@example.org"


def test_a_domain_outside_ascii_is_written_in_a_labels() -> None:
    address = made("a@bücher.example")
    assert "xn--bcher-kva.example" in address.local
    assert back(address.local, secret=SECRET, day=TODAY).domain == "bücher.example"


def test_local_parts_with_the_separator_come_back_whole() -> None:
    address = made("a=b=c@example.org")
    assert back(address.local, secret=SECRET, day=TODAY).local == "a=b=c"


@pytest.mark.parametrize("separator", ["=", "+", "-"])
def test_what_another_forwarder_made_goes_back_to_it(separator: str) -> None:
    theirs = Address(f"SRS0{separator}HH=TT=source.test=user", "other.test")
    address = made(str(theirs))
    assert address.local.startswith("SRS1=")
    assert back(address.local, secret=SECRET, day=TODAY) == theirs


def test_a_third_forwarder_leaves_the_second_out() -> None:
    theirs = made("SRS0=HH=TT=source.test=user@first.test", "second.test")
    address = made(str(theirs), "third.test")
    assert back(address.local, secret=SECRET, day=TODAY) == Address(
        "SRS0=HH=TT=source.test=user", "first.test"
    )
    assert len(address.local) == len(theirs.local)


@pytest.mark.parametrize(("age", "is_good"), [(0, True), (MAX_AGE_DAYS, True), (22, False)])
def test_addresses_expire(age: int, is_good: bool) -> None:
    local = made("ada@example.org").local
    if is_good:
        assert back(local, secret=SECRET, day=TODAY + age).local == "ada"
    else:
        with pytest.raises(NotOurs, match="expired"):
            back(local, secret=SECRET, day=TODAY + age)


def test_days_count_round() -> None:
    address = forward(Address("a", "b.test"), "ours.test", secret=SECRET, day=1023)
    assert address is not None
    assert back(address.local, secret=SECRET, day=1030).local == "a"


@pytest.mark.parametrize(
    "local",
    ["SRS0=", "SRS0", "SRS1==", "SRS0=AAAAAAAA=TT=x.test=ada", "SRS1=AAAAAAAA=x.test==y", "user"],
)
def test_what_we_have_not_made_goes_nowhere(local: str) -> None:
    with pytest.raises(NotOurs):
        back(local, secret=SECRET, day=TODAY)


def test_nothing_of_an_address_can_be_exchanged() -> None:
    local = made("ada@example.org").local
    for changed in (local.replace("ada", "eve"), local.replace("example.org", "example.net")):
        with pytest.raises(NotOurs, match="hash"):
            back(changed, secret=SECRET, day=TODAY)
    with pytest.raises(NotOurs, match="hash"):
        back(local, secret=b"t" * 32, day=TODAY)


def test_what_does_not_fit_is_not_made() -> None:
    room = MAX_LOCAL - len(made("a@example.org").local) + 1
    assert forward(Address("a" * room, "example.org"), "o.test", secret=SECRET, day=1) is not None
    assert forward(Address("a" * (room + 1), "example.org"), "o.test", secret=SECRET, day=1) is None


@pytest.mark.parametrize(
    ("local", "is_one"),
    [("SRS0=x", True), ("srs1+x", True), ("SRS2=x", False), ("srs0", False), ("xSRS0=", False)],
)
def test_what_looks_like_one(local: str, is_one: bool) -> None:
    assert is_srs(local) is is_one


@given(st.text(max_size=80))
def test_any_local_part_is_answered(local: str) -> None:
    for text in (local, f"SRS0={local}", f"SRS1={local}"):
        with pytest.raises(NotOurs):
            back(text, secret=SECRET, day=TODAY)


@given(st.text(min_size=1, max_size=30))
def test_any_sender_comes_back_or_has_no_address(local: str) -> None:
    sender = Address(local, "example.org")
    address = forward(sender, "ours.test", secret=SECRET, day=TODAY)
    if address is not None and not is_srs(local):
        assert back(address.local, secret=SECRET, day=TODAY) == sender
