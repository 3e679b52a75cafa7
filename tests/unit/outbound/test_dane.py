"""Certificates held against TLSA records."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.authority import Authority, Certificate
from relevo.dns import TlsaRecord
from relevo.outbound.dane import check_chain, is_usable

NAME = "mx.b.test"
ROOT = Authority("Root")
MIDDLE = Authority("Middle", above=ROOT)
BELOW_MIDDLE = MIDDLE.issue(NAME, "*.wild.test")
BELOW_ROOT = ROOT.issue(NAME)
STRANGER = Authority("Stranger").issue(NAME)
NAMES = (NAME,)


def record(usage: int, selector: int, matching_type: int, of: Certificate) -> TlsaRecord:
    data = of.key_der if selector else of.der
    if matching_type:
        data = hashlib.new({1: "sha256", 2: "sha512"}[matching_type], data).digest()
    return TlsaRecord(usage, selector, matching_type, data)


def test_every_form_of_a_record_is_told_from_another_certificate() -> None:
    for selector in (0, 1):
        for matching_type in (0, 1, 2):
            named = record(3, selector, matching_type, BELOW_ROOT)
            assert is_usable(named)
            assert check_chain(BELOW_ROOT.chain_der, [named], NAMES) == ""
            assert check_chain(STRANGER.chain_der, [named], NAMES) != ""
            above = record(2, selector, matching_type, MIDDLE.as_certificate)
            assert is_usable(above)
            assert check_chain(BELOW_MIDDLE.chain_der, [above], NAMES) == ""
            assert check_chain(STRANGER.chain_der, [above], NAMES) != ""


def test_one_of_several_records_suffices() -> None:
    records = [record(3, 1, 1, STRANGER), record(3, 1, 1, BELOW_ROOT)]
    assert check_chain(BELOW_ROOT.chain_der, records, NAMES) == ""


def test_names_and_dates_mean_nothing_where_the_certificate_itself_is_named() -> None:
    expired = ROOT.issue("elsewhere.test", is_expired=True)
    assert check_chain(expired.chain_der, [record(3, 0, 1, expired)], NAMES) == ""


def test_names_and_dates_count_where_an_authority_is_named() -> None:
    named = [record(2, 0, 1, MIDDLE.as_certificate)]
    for names, is_right in (
        (("other.test", NAME.upper() + "."), True),
        (("a.wild.test",), True),
        (("a.b.wild.test",), False),
        (("wild.test",), False),
        (("other.test",), False),
    ):
        why = check_chain(BELOW_MIDDLE.chain_der, named, names)
        assert (why == "") is is_right, (names, why)
    expired = MIDDLE.issue(NAME, is_expired=True)
    assert "date" in check_chain(expired.chain_der, named, NAMES)
    later = datetime.now(UTC) + timedelta(days=60)
    assert "date" in check_chain(BELOW_MIDDLE.chain_der, named, NAMES, now=later)


def test_an_authority_that_is_not_sent_is_taken_from_the_record_itself() -> None:
    for selector in (0, 1):
        whole = record(2, selector, 0, ROOT.as_certificate)
        assert check_chain(BELOW_ROOT.chain_der, [whole], NAMES) == ""
        assert check_chain(BELOW_MIDDLE.chain_der, [whole], NAMES) == ""
        assert check_chain(STRANGER.chain_der, [whole], NAMES) != ""
    digest = record(2, 0, 1, ROOT.as_certificate)
    assert check_chain(BELOW_ROOT.chain_der, [digest], NAMES) != ""


def test_an_authority_that_did_not_sign_proves_nothing() -> None:
    named = [record(2, 0, 1, MIDDLE.as_certificate)]
    chain = (STRANGER.der, MIDDLE.as_certificate.der)
    assert check_chain(chain, named, NAMES) != ""


def test_a_servers_certificate_is_no_authority() -> None:
    server = ROOT.issue("other.test")
    forged = server.sign(NAME)
    named = [record(2, 0, 1, ROOT.as_certificate)]
    chain = (*forged.chain_der, ROOT.as_certificate.der)
    assert check_chain(server.chain_der + chain[2:], named, ("other.test",)) == ""
    assert check_chain(chain, named, NAMES) != ""
    whole = [record(2, 0, 0, server)]
    assert check_chain(forged.chain_der[:1], whole, NAMES) != ""


@pytest.mark.parametrize(
    "unusable",
    [
        TlsaRecord(0, 1, 1, bytes(32)),
        TlsaRecord(1, 1, 1, bytes(32)),
        TlsaRecord(4, 1, 1, bytes(32)),
        TlsaRecord(3, 2, 1, bytes(32)),
        TlsaRecord(3, 1, 3, bytes(32)),
        TlsaRecord(3, 1, 1, bytes(31)),
        TlsaRecord(3, 1, 2, bytes(32)),
        TlsaRecord(3, 0, 0, b"no certificate"),
        TlsaRecord(2, 1, 0, b"no key"),
        TlsaRecord(3, 1, 0, b""),
    ],
)
def test_records_that_cannot_be_used(unusable: TlsaRecord) -> None:
    assert not is_usable(unusable)


def test_no_certificate() -> None:
    assert check_chain((), [record(3, 1, 1, BELOW_ROOT)], NAMES) != ""


octets = st.binary(max_size=80)
records = st.builds(TlsaRecord, st.integers(0, 4), st.integers(0, 2), st.integers(0, 3), octets)


@given(st.lists(octets | st.just(BELOW_ROOT.der), max_size=3), st.lists(records, max_size=3))
def test_no_octets_raise_or_prove_anything(chain: list[bytes], named: list[TlsaRecord]) -> None:
    for each in named:
        is_usable(each)
    assert check_chain(chain, named, NAMES) != ""


def test_a_certificate_that_has_an_extension_twice_proves_nothing() -> None:
    # basic constraints under the number of alternative names
    der = BELOW_ROOT.der.replace(b"\x55\x1d\x13", b"\x55\x1d\x11")
    assert der != BELOW_ROOT.der
    assert "cannot be read" in check_chain([der], [TlsaRecord(2, 0, 0, der)], NAMES)
