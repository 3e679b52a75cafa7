"""Answers validated here, from zones that ldns signs and NSD serves, through unbound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from harness.dnssec_tree import Zone, start_tree
from harness.processes import Reaper
from relevo.dns import Answer, DnsFailed, Outcome, Resolver, parse_server
from relevo.dns.answers import R
from relevo.dns.trust_anchor import TrustAnchors, parse_anchors

pytestmark = pytest.mark.needs_debian("nsd", "unbound", "ldnsutils")

RECORDS = (
    "@ MX 10 mx",
    "mx A 192.0.2.1",
    "_25._tcp.mx TLSA 3 1 1 " + "00" * 32,
    "alias CNAME mx",
    "abroad CNAME mx.plain.",
    "lost CNAME mx.broken.",
    "*.wild A 192.0.2.2",
    "deep.down.below A 192.0.2.3",
    "forged A 192.0.2.4",
    "away DNAME hashed.",
)
ZONES = {
    ".": Zone(),
    "test.": Zone(records=RECORDS, bogus=("forged.test.",)),
    "sub.test.": Zone(records=("mx A 192.0.2.5",)),
    "bare.test.": Zone(records=("mx A 192.0.2.6",), is_signed=False),
    "hashed.": Zone(records=RECORDS, nsec3_rounds=5),
    "opt.": Zone(records=RECORDS, nsec3_rounds=0, is_opt_out=True),
    "bare.opt.": Zone(records=("mx A 192.0.2.7",), is_signed=False),
    "rounds.": Zone(records=RECORDS, nsec3_rounds=150),
    "plain.": Zone(records=("mx A 192.0.2.8",), is_signed=False),
    "broken.": Zone(records=("mx A 192.0.2.9",), has_wrong_ds=True),
    "expired.": Zone(records=("mx A 192.0.2.10",), is_expired=True),
    "old.": Zone(records=("mx A 192.0.2.11",), algorithm="RSASHA1"),
    "rsa.": Zone(records=("mx A 192.0.2.12",), algorithm="RSASHA256"),
    "edwards.": Zone(records=("mx A 192.0.2.13",), algorithm="ED25519"),
}
SECURE, INSECURE, BOGUS = "secure", "insecure", "bogus"
ADDRESSES = {
    "mx.test": SECURE,
    "alias.test": SECURE,
    "x.y.wild.test": SECURE,  # of a wildcard
    "deep.down.below.test": SECURE,
    "mx.sub.test": SECURE,
    "mx.away.test": SECURE,  # through DNAME, to another signed zone
    "mx.hashed": SECURE,
    "x.wild.hashed": SECURE,
    "mx.rsa": SECURE,
    "mx.edwards": SECURE,
    "abroad.test": INSECURE,
    "mx.bare.test": INSECURE,
    "mx.bare.opt": INSECURE,
    "mx.plain": INSECURE,
    "mx.old": INSECURE,  # no algorithm that is still good
    "forged.test": BOGUS,
    "lost.test": BOGUS,
    "mx.broken": BOGUS,
    "mx.expired": BOGUS,
}
ABSENT = {
    "nobody.test": SECURE,
    "a.b.c.test": SECURE,
    "down.below.test": SECURE,  # there, without records
    "_25._tcp.mx.sub.test": SECURE,
    "nobody.hashed": SECURE,
    "down.below.hashed": SECURE,
    "nobody": SECURE,
    "nobody.opt": INSECURE,
    "nobody.rounds": INSECURE,
    "nobody.plain": INSECURE,
}


async def judged(look_up: Awaitable[Answer[R]], outcomes: set[Outcome]) -> str:
    try:
        answer = await look_up
    except DnsFailed as error:
        return BOGUS if "bogus" in error.detail else error.detail
    assert answer.outcome in outcomes
    return SECURE if answer.is_authenticated else INSECURE


def anchored(servers: str, anchors: TrustAnchors) -> Resolver:
    return Resolver([parse_server(servers)], timeout_s=20.0, anchors=anchors)


def test_what_is_validated_here(reaper: Reaper, tmp_path: Path) -> None:
    server, anchor = start_tree(reaper, tmp_path, ZONES)

    async def check() -> None:
        resolver = anchored(str(server), parse_anchors(anchor, "the test"))
        found = {name: await judged(resolver.a(name), {Outcome.FOUND}) for name in ADDRESSES}
        assert found == ADDRESSES
        lacking = {Outcome.NO_RECORDS, Outcome.NO_SUCH_NAME}
        absent = {name: await judged(resolver.tlsa(name), lacking) for name in ABSENT}
        assert absent == ABSENT
        tlsa = await resolver.tlsa("_25._tcp.mx.test")
        assert (tlsa.is_authenticated, len(tlsa.records)) == (True, 1)
        assert await resolver.is_dnssec_seen()
        assert await resolver.is_alias_secure("abroad.test")
        assert not await resolver.is_alias_secure("mx.test")
        elsewhere = anchored(str(server), parse_anchors(["other. " + anchor[0][2:]], "the test"))
        assert not (await elsewhere.a("mx.test")).is_authenticated  # no anchor above it
        wrong = anchored(str(server), parse_anchors([anchor[0][:-8] + "00000000"], "the test"))
        with pytest.raises(DnsFailed, match="bogus"):
            await wrong.a("mx.test")
        for each in (resolver, elsewhere, wrong):
            await each.aclose()

    asyncio.run(check())
