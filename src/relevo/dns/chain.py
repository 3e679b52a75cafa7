"""The chain of trust from an anchor down to the zone of a name (RFC 4035 §5).

On the way each name is asked for DS records, in the zone above it: it begins a zone whose keys they
name; it begins no zone; or it begins one that is not signed, and then nothing below it is. What was
found is kept, and a name that many ask about at once is looked at once. Which keys sign a zone
depends on nothing that is asked below it, so an answer costs what is new on its way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG

from relevo.dns.cache import Cache
from relevo.dns.denial import Denials, Denied, TooManyRounds
from relevo.dns.signatures import Bogus, Verified, Work, ZoneKeys, keys_of, verify
from relevo.dns.trust_anchor import TrustAnchors

Fetch = Callable[[dns.name.Name, dns.rdatatype.RdataType], Awaitable[dns.message.Message]]
"""A whole answer with its signatures, not judged by whoever gives it. Raises DnsFailed."""

MAX_DENIALS = 16  # record sets of an answer that deny something
MAX_KEPT_S = 3600.0
CACHE_OCTETS = 1024 * 1024
_ENTRY_OCTETS = 800  # about, for each of the names that are kept, and for each key


class Bare(Enum):
    """A name that is in no zone with keys."""

    INSECURE = auto()  # proved: a zone above it, or its own, is not signed
    INDETERMINATE = auto()  # there is no anchor above it


Standing = ZoneKeys | Bare


@dataclass(frozen=True, slots=True)
class _NoCut:
    """The name belongs to the zone above it, if it is there."""

    is_there: bool
    ttl_s: int


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """A zone without keys that we know begins there."""

    ttl_s: int


_Step = ZoneKeys | _NoCut | _Unsigned


class ChainOfTrust:
    """Zones and their keys, for one event loop."""

    def __init__(
        self,
        anchors: TrustAnchors,
        fetch: Fetch,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wall` is compared with the times in signatures."""
        self._anchors = anchors
        self._fetch = fetch
        self.wall = wall
        self._steps: Cache[dns.name.Name, _Step] = Cache(max_size=CACHE_OCTETS, clock=clock)
        self._under_way: dict[dns.name.Name, asyncio.Task[_Step]] = {}

    async def standing(self, name: dns.name.Name, work: Work) -> Standing:
        """The zone that a name is in, or would be. Raises Bogus, DnsFailed."""
        anchor = self._anchors.above(name)
        if anchor is None:
            return Bare.INDETERMINATE
        step = await self._step(anchor, None, work)
        if not isinstance(step, ZoneKeys):
            return Bare.INSECURE
        zone = step
        for depth in range(len(anchor) + 1, len(name) + 1):
            _, candidate = name.split(depth)
            step = await self._step(candidate, zone, work)
            if isinstance(step, _Unsigned):
                return Bare.INSECURE
            if isinstance(step, ZoneKeys):
                zone = step
            elif not step.is_there:
                break  # nor is what is below it
        return zone

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _step(self, name: dns.name.Name, above: ZoneKeys | None, work: Work) -> _Step:
        known = self._steps.get(name)
        if known is not None:
            return known
        task = self._under_way.get(name)
        if task is None:
            work.fetch()
            task = asyncio.create_task(self._find(name, above), name=f"dnssec {name}")
            self._under_way[name] = task
            task.add_done_callback(lambda done: self._forget(name, done))
        return await asyncio.shield(task)

    def _forget(self, name: dns.name.Name, task: asyncio.Task[_Step]) -> None:
        self._under_way.pop(name, None)
        if not task.cancelled():
            task.exception()  # told to those who waited, if any still did

    async def _find(self, name: dns.name.Name, above: ZoneKeys | None) -> _Step:
        """One step, by work of its own: who waits for it may not be who pays."""
        work = Work()
        step: _Step
        if above is None:
            step = await self._keys(name, self._anchors.zones[name], work)
        else:
            step = await self._below(name, above, work)
        keys = len(step.keys) if isinstance(step, ZoneKeys) else 0
        lifetime = min(float(step.ttl_s), MAX_KEPT_S)
        self._steps.put(name, step, lifetime_s=lifetime, size=_ENTRY_OCTETS * (1 + keys))
        return step

    async def _keys(
        self, zone: dns.name.Name, delegation: tuple[DS, ...], work: Work, ttl_s: int = 3600
    ) -> ZoneKeys | _Unsigned:
        message = await self._fetch(zone, dns.rdatatype.DNSKEY)
        rrset = find_rrset(message.answer, zone, dns.rdatatype.DNSKEY)
        if rrset is None:
            raise Bogus(f"{zone} has no keys")
        signed = signatures_of(message.answer, rrset)
        keys = keys_of(zone, rrset, signed, delegation, work, now=self.wall())
        if keys is None:
            return _Unsigned(ttl_s)
        return ZoneKeys(zone, keys.keys, min(keys.ttl_s, ttl_s))

    async def _below(self, name: dns.name.Name, above: ZoneKeys, work: Work) -> _Step:
        message = await self._fetch(name, dns.rdatatype.DS)
        rrset = find_rrset(message.answer, name, dns.rdatatype.DS)
        now = self.wall()
        if rrset is not None:
            found = verify(rrset, signatures_of(message.answer, rrset), above, work, now=now)
            delegation = tuple(ds for ds in rrset if isinstance(ds, DS))
            return await self._keys(name, delegation, work, found.ttl_s)
        alias = find_rrset(message.answer, name, dns.rdatatype.CNAME)
        if alias is not None:
            found = verify(alias, signatures_of(message.answer, alias), above, work, now=now)
            return _NoCut(is_there=True, ttl_s=found.ttl_s)
        try:
            denials, ttl_s = verified_denials(message, above, work, now=now)
            denied = denials.of_type(name, dns.rdatatype.DS)
        except TooManyRounds:
            return _Unsigned(60)
        match denied:
            case Denied.NO_TYPE:
                return _NoCut(is_there=True, ttl_s=ttl_s)
            case Denied.NO_NAME:
                return _NoCut(is_there=False, ttl_s=ttl_s)
            case Denied.DELEGATION | Denied.NOT_SIGNED:
                return _Unsigned(ttl_s)
            case None:
                raise Bogus(f"{name}: nothing proves that it has no DS records")


def find_rrset(
    section: list[dns.rrset.RRset], name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    """The records of a name and type in a section."""
    return next((rrset for rrset in section if rrset.name == name and rrset.rdtype == rdtype), None)


def signatures_of(section: list[dns.rrset.RRset], rrset: dns.rrset.RRset) -> list[RRSIG]:
    """The signatures that stand beside a set."""
    return [
        signature
        for other in section
        if other.rdtype == dns.rdatatype.RRSIG
        and other.covers == rrset.rdtype
        and other.name == rrset.name
        for signature in other
        if isinstance(signature, RRSIG)
    ]


def verified_denials(
    message: dns.message.Message, zone: ZoneKeys, work: Work, *, now: float
) -> tuple[Denials, int]:
    """What an answer denies with signatures of the zone, and for how long. Raises Bogus."""
    nsec: list[tuple[dns.name.Name, NSEC]] = []
    nsec3: list[tuple[dns.name.Name, NSEC3]] = []
    ttl_s = 3600
    sets = [
        rrset
        for rrset in message.authority
        if rrset.rdtype in {dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
    ]
    for rrset in sets[:MAX_DENIALS]:
        found: Verified = verify(
            rrset, signatures_of(message.authority, rrset), zone, work, now=now
        )
        ttl_s = min(ttl_s, found.ttl_s)
        if found.wildcard is not None:
            raise Bogus(f"{rrset.name}: what denies is made of a wildcard")
        for record in rrset:
            if isinstance(record, NSEC):
                nsec.append((rrset.name, record))
            elif isinstance(record, NSEC3):
                nsec3.append((rrset.name, record))
    return Denials(zone.zone, tuple(nsec), tuple(nsec3), work), ttl_s
