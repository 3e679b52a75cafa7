"""Validation that costs an attacker more than us, and trust anchors from files.

What is secure, insecure and bogus is shown with real zones: tests/system/test_dnssec_real.py.
"""

from __future__ import annotations

import asyncio
from itertools import permutations
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG
from hypothesis import given
from hypothesis import strategies as st

from relevo.dns.answers import DnsFailed
from relevo.dns.chain import ChainOfTrust
from relevo.dns.denial import Denials, TooManyRounds
from relevo.dns.signatures import MAX_ITERATIONS, Bogus, Work, ZoneKeys, keys_of, verify
from relevo.dns.trust_anchor import ROOT, BadAnchor, TrustAnchors, parse_anchors, read_anchors
from relevo.dns.validation import Status, judge

NOW = 1_800_000_000.0
ZONE = dns.name.from_text("test.")
PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = dns.dnssec.make_dnskey(PRIVATE.public_key(), "ED25519", flags=257)
ADDRESSES = dns.rrset.from_text("x.test.", 300, "IN", "A", "192.0.2.1")


def signature(rrset: dns.rrset.RRset, *, lifetime: int = 3600) -> RRSIG:
    found = dns.dnssec.sign(
        rrset, PRIVATE, ZONE, KEY, inception=int(NOW) - 10, expiration=int(NOW) + lifetime
    )
    assert isinstance(found, RRSIG)
    return found


def twins(count: int) -> list[DNSKEY]:
    """Other keys with the tag of KEY: it is a sum, which no order of its parts changes."""
    pairs = [KEY.key[at : at + 2] for at in range(0, 10, 2)]
    others = (b"".join(order) + KEY.key[10:] for order in permutations(pairs))
    found: list[DNSKEY] = []
    for other in others:
        key = KEY.replace(key=other)
        assert isinstance(key, DNSKEY)
        if other != KEY.key and dns.dnssec.key_id(key) == dns.dnssec.key_id(KEY):
            found.append(key)
        if len(found) == count:
            return found
    raise AssertionError("not enough orders")


def test_a_right_signature_bounds_the_lifetime() -> None:
    found = verify(
        ADDRESSES, [signature(ADDRESSES, lifetime=60)], ZoneKeys(ZONE, (KEY,), 0), Work(), now=NOW
    )
    assert (found.ttl_s, found.wildcard) == (60, None)


def test_one_twin_among_few_is_looked_behind() -> None:
    keys = ZoneKeys(ZONE, (*twins(2), KEY), 0)
    assert verify(ADDRESSES, [signature(ADDRESSES)], keys, Work(), now=NOW).ttl_s == 300


def test_very_many_keys_and_signatures_cost_a_bounded_number_of_checks() -> None:
    keys = ZoneKeys(ZONE, (*twins(60), KEY), 0)
    right = signature(ADDRESSES)
    wrong = [right.replace(signature=bytes([n]) * 64) for n in range(200)]
    work = Work()
    with pytest.raises(Bogus, match="too many"):
        verify(ADDRESSES, [*wrong, right], keys, work, now=NOW)  # type: ignore[list-item]  # RRSIGs
    assert work.verifications == -1


def test_a_set_of_keys_with_very_many_twins_is_bounded_too() -> None:
    everything = dns.rrset.from_rdata(ZONE, 300, *twins(60), KEY)
    ds = dns.dnssec.make_ds(ZONE, KEY, "SHA256")
    wrong = [signature(everything).replace(signature=bytes([n]) * 64) for n in range(60)]
    with pytest.raises(Bogus):
        keys_of(ZONE, everything, wrong, (ds,) * 60, Work(), now=NOW)  # type: ignore[arg-type]  # RRSIGs


def denials(iterations: int) -> Denials:
    record = dns.rdata.from_text(
        dns.rdataclass.IN,
        dns.rdatatype.NSEC3,
        f"1 0 {iterations} abcd 0123456789ABCDEFGHIJKLMNOPQRSTUV A",
    )
    assert isinstance(record, NSEC3)
    owners = [dns.name.from_text(f"{n:032}.test.") for n in range(16)]
    return Denials(ZONE, (), tuple((owner, record) for owner in owners), Work(hashes=40))


def test_hashes_of_names_are_bounded_in_rounds_and_in_number() -> None:
    name = dns.name.from_text(".".join("abcdefghijklmnopqrstuvwxyz" * 4) + ".test.")
    with pytest.raises(TooManyRounds):
        denials(MAX_ITERATIONS + 1).of_name(name)
    with pytest.raises(Bogus, match="too many names"):
        denials(MAX_ITERATIONS).of_name(name)


def answer(*rrsets: dns.rrset.RRset) -> bytes:
    message = dns.message.make_query("x.test.", "A")
    message.flags |= dns.flags.QR
    for rrset in rrsets:
        message.answer += [rrset, dns.rrset.from_rdata(rrset.name, 300, signature(rrset))]
    return message.to_wire()


def no_cut(name: dns.name.Name) -> dns.message.Message:
    message = dns.message.make_query(name, "DS")
    denial = dns.rrset.from_text(name, 300, "IN", "NSEC", "test. A RRSIG NSEC")
    message.authority = [denial, dns.rrset.from_rdata(name, 300, signature(denial))]
    return message


def anchored(message: dns.message.Message, *, denies_cut: bool = False) -> Status:
    """The verdict on an answer, with the zone's keys at hand.

    `denies_cut`: and its word that no name below it begins a zone.
    """
    keys = dns.rrset.from_rdata(ZONE, 300, KEY)
    of_keys = dns.message.from_wire(answer(keys))

    async def fetch(name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.Message:
        if (name, rdtype) == (ZONE, dns.rdatatype.DNSKEY):
            return of_keys
        if denies_cut and rdtype == dns.rdatatype.DS:
            return no_cut(name)
        raise DnsFailed(str(name), "nothing else is known here")

    async def check() -> Status:
        anchors = TrustAnchors({ZONE: (dns.dnssec.make_ds(ZONE, KEY, "SHA256"),)})
        chain = ChainOfTrust(anchors, fetch, wall=lambda: NOW)
        name = dns.name.from_text("x.test.")
        return (await judge(chain, name, dns.rdatatype.A, message)).status

    return asyncio.run(check())


def test_the_whole_way() -> None:
    assert anchored(dns.message.from_wire(answer(ADDRESSES))) is Status.SECURE


def test_an_answer_without_signatures_from_a_signed_zone_is_bogus() -> None:
    """The zone proves that the name is there and begins no other zone."""
    message = dns.message.from_wire(answer(ADDRESSES))
    message.answer = message.answer[:1]
    assert anchored(message, denies_cut=True) is Status.BOGUS


@given(st.lists(st.tuples(st.integers(2, 180), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_damage_of_an_answer_is_secure_or_breaks_anything(
    changes: list[tuple[int, int]],
) -> None:
    wire = bytearray(answer(ADDRESSES))
    for at, octet in changes:
        if at < len(wire):
            wire[at] = octet
    try:
        message = dns.message.from_wire(bytes(wire))
    except (dns.exception.DNSException, ValueError):
        return
    try:
        status = anchored(message)
    except DnsFailed:
        return
    if status is Status.SECURE:
        assert message.answer[0] == ADDRESSES


def test_anchors_are_those_of_the_root_or_of_a_file(tmp_path: Path) -> None:
    assert [len(found) for found in read_anchors("").zones.values()] == [len(ROOT)]
    path = tmp_path / "anchor"
    path.write_text(f"; a comment\n\ntest. 300 IN DNSKEY {KEY.to_text()}\n")
    assert read_anchors(str(path)) == TrustAnchors(
        {ZONE: (dns.dnssec.make_ds(ZONE, KEY, "SHA256"),)}
    )


@pytest.mark.parametrize("text", ["", "test. IN A 192.0.2.1", "test. IN DS 1 13", "junk"])
def test_a_file_without_anchors_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(BadAnchor, match="file"):
        parse_anchors([text], "file")


def test_the_nearest_anchor_counts() -> None:
    root, low = dns.name.root, dns.name.from_text("low.test.")
    anchors = TrustAnchors({root: (), low: ()})
    assert anchors.above(dns.name.from_text("x.low.test.")) == low
    assert anchors.above(ZONE) == root
    assert TrustAnchors({low: ()}).above(ZONE) is None
