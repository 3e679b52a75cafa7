"""Own validation of answers by DNSSEC (RFC 4035 §5), for a server that trusts no resolver.

The name servers must pass on the records of DNSSEC; what they think of them does not matter (our
questions carry CD). Each set of an answer, all aliases on the way included, must be signed by its
zone, or it must be proved that its zone is not signed; so must it that a name or type is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.DNAME import DNAME

from relevo.dns.chain import (
    Bare,
    ChainOfTrust,
    Standing,
    find_rrset,
    signatures_of,
    verified_denials,
)
from relevo.dns.denial import Denied, TooManyRounds
from relevo.dns.signatures import Bogus, Work, ZoneKeys, verify

MAX_ALIASES = 12
_UNSIGNED_TTL_S = 3600


class Status(Enum):
    """What DNSSEC says of an answer (RFC 4033 §5)."""

    SECURE = auto()
    INSECURE = auto()
    INDETERMINATE = auto()
    BOGUS = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ttl_s`: no longer than that, whatever the records say; `problem`: why it is bogus."""

    status: Status
    ttl_s: int = _UNSIGNED_TTL_S
    problem: str = ""


_OF_BARE = {Bare.INSECURE: Status.INSECURE, Bare.INDETERMINATE: Status.INDETERMINATE}
_RANK = (Status.SECURE, Status.INDETERMINATE, Status.INSECURE)  # an answer is as its worst part


async def judge(
    chain: ChainOfTrust,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    message: dns.message.Message,
) -> Verdict:
    """What DNSSEC says of the answer to a question. Raises DnsFailed, if it cannot be found out."""
    try:
        return await _Judgement(chain, message).of(name, rdtype)
    except Bogus as error:
        return Verdict(Status.BOGUS, problem=str(error))


class _Judgement:
    """One answer, and the work that is left for it."""

    def __init__(self, chain: ChainOfTrust, message: dns.message.Message) -> None:
        self._chain = chain
        self._message = message
        self._work = Work()
        self._ttl_s = _UNSIGNED_TTL_S
        self._status = Status.SECURE

    async def of(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Verdict:
        """Raises Bogus, DnsFailed."""
        answer = self._message.answer
        for _ in range(MAX_ALIASES):
            rrset = find_rrset(answer, name, rdtype)
            if rrset is not None:
                await self._judge_set(rrset)
                return self._verdict()
            alias = find_rrset(answer, name, dns.rdatatype.CNAME)
            if alias is None:
                await self._judge_absence(name, rdtype)
                return self._verdict()
            whole = self._made_of(alias)
            await self._judge_set(alias if whole is None else whole)
            target = alias[0]
            assert isinstance(target, CNAME)
            name = target.target
        raise Bogus("too many aliases")

    def _verdict(self) -> Verdict:
        return Verdict(self._status, self._ttl_s)

    def _note(self, status: Status, ttl_s: int = _UNSIGNED_TTL_S) -> None:
        self._ttl_s = min(self._ttl_s, ttl_s)
        self._status = max(self._status, status, key=_RANK.index)

    def _made_of(self, alias: dns.rrset.RRset) -> dns.rrset.RRset | None:
        """The DNAME by which a server made this alias; that is signed (RFC 6672 §5.3.1)."""
        if signatures_of(self._message.answer, alias):
            return None
        for rrset in self._message.answer:
            dname = rrset[0] if rrset.rdtype == dns.rdatatype.DNAME and len(rrset) == 1 else None
            if not isinstance(dname, DNAME) or not alias.name.is_subdomain(rrset.name):
                continue
            target = alias[0]
            assert isinstance(target, CNAME)
            try:
                made = alias.name.relativize(rrset.name).derelativize(dname.target)
            except dns.exception.DNSException:
                continue
            if alias.name != rrset.name and made == target.target:
                return rrset
        return None

    async def _judge_set(self, rrset: dns.rrset.RRset) -> None:
        signatures = signatures_of(self._message.answer, rrset)
        signers = dict.fromkeys(
            signature.signer
            for signature in signatures
            if rrset.name.is_subdomain(signature.signer)
        )
        if not signers:
            await self._expect_bare(rrset.name, f"{rrset.name}: no signature")
            return
        signer = next(iter(signers))
        zone = await self._zone(signer)
        if zone is None:
            return
        found = verify(rrset, signatures, zone, self._work, now=self._chain.wall())
        status = Status.SECURE
        if found.wildcard is not None:
            denials, _ = verified_denials(self._message, zone, self._work, now=self._chain.wall())
            try:
                denied = denials.of_next_closer(rrset.name, found.wildcard)
            except TooManyRounds:
                denied = Denied.NOT_SIGNED
            if denied is None:
                raise Bogus(f"{rrset.name}: nothing proves that the wildcard is meant")
            status = Status.INSECURE if denied is Denied.NOT_SIGNED else Status.SECURE
        self._note(status, found.ttl_s)

    async def _judge_absence(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        signer = self._denier(name)
        if signer is None:
            await self._expect_bare(name, f"{name}: nothing proves that it is not there")
            return
        zone = await self._zone(signer)
        if zone is None:
            return
        try:
            denials, ttl_s = verified_denials(
                self._message, zone, self._work, now=self._chain.wall()
            )
            is_name_denied = self._message.rcode() == dns.rcode.NXDOMAIN
            denied = denials.of_name(name) if is_name_denied else denials.of_type(name, rdtype)
        except TooManyRounds:
            self._note(Status.INSECURE)
            return
        match denied:
            case Denied.NO_NAME | Denied.NO_TYPE:
                self._note(Status.SECURE, ttl_s)
            case Denied.NOT_SIGNED:
                self._note(Status.INSECURE, ttl_s)
            case Denied.DELEGATION | None:
                raise Bogus(f"{name}: nothing proves that it is not there")

    def _denier(self, name: dns.name.Name) -> dns.name.Name | None:
        """Whose signature stands on what denies the name."""
        for rrset in self._message.authority:
            if rrset.rdtype in {dns.rdatatype.NSEC, dns.rdatatype.NSEC3}:
                for signature in signatures_of(self._message.authority, rrset):
                    if name.is_subdomain(signature.signer):
                        return signature.signer
        return None

    async def _zone(self, signer: dns.name.Name) -> ZoneKeys | None:
        """The keys of a zone that signs; None: it is noted that it has none. Raises Bogus."""
        standing: Standing = await self._chain.standing(signer, self._work)
        if isinstance(standing, Bare):
            self._note(_OF_BARE[standing])
            return None
        if standing.zone != signer:
            raise Bogus(f"{signer} signs, but is no zone")
        return standing

    async def _expect_bare(self, name: dns.name.Name, problem: str) -> None:
        """Without signatures it must be proved that there are none."""
        standing = await self._chain.standing(name, self._work)
        if not isinstance(standing, Bare):
            raise Bogus(f"{problem}, in the signed zone {standing.zone}")
        self._note(_OF_BARE[standing])
