"""Signatures of record sets and the keys that make them (RFC 4034, 4035), with bounded work.

What an answer holds is its sender's choice: many keys of one tag, many signatures, hashes with many
rounds, each of which costs (KeyTrap, CVE-2023-50387). So an answer, and each zone on the way to it,
has a `Work` that all of it is taken from, and when that is used up it counts as bogus.

Algorithms are those that RFC 8624 has validators know, without SHA-1: a zone that has others only
is one without signatures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import dns.dnssec
import dns.exception
import dns.name
import dns.node
import dns.rdataset
import dns.rrset
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

ALGORITHMS: Final = frozenset({8, 10, 13, 14, 15, 16})
DIGESTS: Final = {2: "SHA256", 4: "SHA384"}
MAX_KEYS: Final = 24  # of a zone that are looked at
MAX_KEY_OCTETS: Final = 1024  # of RSA with twice the usual 4,096 bits
MAX_SAME_TAG: Final = 4
MAX_SIGNATURES: Final = 8  # of a set
MAX_DS: Final = 16
# of NSEC3; a zone with more counts as not signed (RFC 9276 §3.2)
MAX_ITERATIONS: Final = 100
_ZONE_KEY: Final = 0x0100
_REVOKED: Final = 0x0080
_FAILURES: Final = (dns.exception.DNSException, ValueError, TypeError, KeyError, OverflowError)


class Bogus(Exception):
    """What DNSSEC says of an answer contradicts it; the text says how."""


@dataclass(slots=True)
class Work:
    """What is left to be done for one answer, or for one zone on the way to it."""

    verifications: int = 16
    hashes: int = 64  # of names, by NSEC3
    fetches: int = 24  # of DS and DNSKEY sets

    def verify(self) -> None:
        self.verifications -= 1
        if self.verifications < 0:
            raise Bogus("too many signatures to check")

    def hash(self) -> None:
        self.hashes -= 1
        if self.hashes < 0:
            raise Bogus("too many names to hash")

    def fetch(self) -> None:
        self.fetches -= 1
        if self.fetches < 0:
            raise Bogus("too many zones on the way to it")


@dataclass(frozen=True, slots=True)
class ZoneKeys:
    """The keys of a zone that a chain of trust leads to."""

    zone: dns.name.Name
    keys: tuple[DNSKEY, ...]
    ttl_s: int

    def candidates(self, signature: RRSIG) -> list[DNSKEY]:
        """Keys that may have made a signature; different ones may have one tag."""
        found = [
            key
            for key in self.keys
            if key.algorithm == signature.algorithm and dns.dnssec.key_id(key) == signature.key_tag
        ]
        return found[:MAX_SAME_TAG]


@dataclass(frozen=True, slots=True)
class Verified:
    """A set whose signature is right. `wildcard`: the name that it was made of, if any."""

    ttl_s: int
    wildcard: dns.name.Name | None = None


def labels_of(name: dns.name.Name) -> int:
    """As the field of a signature counts them: neither the root nor an asterisk in front."""
    return len(name) - 1 - (1 if name.is_wild() else 0)


def verify(
    rrset: dns.rrset.RRset,
    signatures: list[RRSIG],
    keys: ZoneKeys,
    work: Work,
    *,
    now: float | None = None,
) -> Verified:
    """Check a set against the keys of its zone; `now` in seconds since the epoch. Raises Bogus."""
    at = time.time() if now is None else now
    problem = "no signature by its zone"
    for signature in signatures[:MAX_SIGNATURES]:
        if signature.signer != keys.zone or signature.labels > labels_of(rrset.name):
            continue
        for key in keys.candidates(signature):
            work.verify()
            single: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset]
            single = {keys.zone: dns.rdataset.from_rdata(0, key)}
            try:
                dns.dnssec.validate_rrsig(rrset, signature, single, now=at)
            except _FAILURES as error:
                problem = f"a wrong signature ({error or type(error).__name__})"
                continue
            left = max(0, int(signature.expiration - at))
            wildcard = None
            if signature.labels < labels_of(rrset.name):
                _, encloser = rrset.name.split(signature.labels + 1)
                wildcard = dns.name.Name([b"*", *encloser.labels])
            return Verified(min(rrset.ttl, signature.original_ttl, left), wildcard)
    raise Bogus(f"{rrset.name}: {problem}")


def keys_of(
    zone: dns.name.Name,
    rrset: dns.rrset.RRset,
    signatures: list[RRSIG],
    delegation: tuple[DS, ...],
    work: Work,
    *,
    now: float | None = None,
) -> ZoneKeys | None:
    """The keys of a zone, by its DS records; None: it has none that we know. Raises Bogus."""
    usable = [ds for ds in delegation if ds.digest_type in DIGESTS and ds.algorithm in ALGORITHMS][
        :MAX_DS
    ]
    if not usable:
        return None
    keys = tuple(key for key in rrset if isinstance(key, DNSKEY) and _may_sign(key))[:MAX_KEYS]
    problem = f"{zone}: no key is the one that its parent names"
    for ds in usable:
        for key in keys:
            if not _is_named(zone, key, ds):
                continue
            try:
                found = verify(rrset, signatures, ZoneKeys(zone, (key,), 0), work, now=now)
            except Bogus as error:
                problem = str(error)
                continue
            return ZoneKeys(zone, keys, found.ttl_s)
    raise Bogus(problem)


def _may_sign(key: DNSKEY) -> bool:
    return (
        bool(key.flags & _ZONE_KEY)
        and not key.flags & _REVOKED
        and key.protocol == 3
        and key.algorithm in ALGORITHMS
        and len(key.key) <= MAX_KEY_OCTETS
    )


def _is_named(zone: dns.name.Name, key: DNSKEY, ds: DS) -> bool:
    if key.algorithm != ds.algorithm or dns.dnssec.key_id(key) != ds.key_tag:
        return False
    try:
        made = dns.dnssec.make_ds(zone, key, DIGESTS[ds.digest_type], validating=True)
    except _FAILURES:
        return False
    return bool(made.digest == ds.digest)
