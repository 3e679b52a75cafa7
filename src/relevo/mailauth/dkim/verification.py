"""Verifying the signatures of one message (RFC 6376 §6).

Three steps, so that nothing is held and nothing is waited for too early: the head tells which
hashes of the body are wanted; the body is hashed while it arrives; then keys are looked up, all at
once. Whatever is malformed ends in a result. Nothing raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from relevo.dns import DnsFailed, DnsLookups
from relevo.dns.at_once import all_of, within
from relevo.mailauth.dkim.body_hash import BodyHash, BodyHashes
from relevo.mailauth.dkim.fields import HeaderFields, TooManyFields, signed_octets
from relevo.mailauth.dkim.key_record import (
    BadKey,
    KeyRecord,
    PublicKey,
    is_signed_by,
    select_key,
)
from relevo.mailauth.dkim.result import DkimOutcome, DkimResult
from relevo.mailauth.dkim.signature import (
    Algorithm,
    CoverTags,
    Signature,
    SignerTags,
    claims_of,
    parse_signature,
)
from relevo.mailauth.dkim.tags import BadTags

MAX_SIGNATURES = 5
TIMEOUT_S = 10.0  # of all look-ups of a message together
# Signatures that are verified in one go. Each gives up the interpreter, and may wait a millisecond
# until it has it again.
_AT_ONCE = 2
CLOCK_SKEW_S = 12 * 3600  # how far in the future a signature may have been made
UNSIGNED = DkimResult(DkimOutcome.NONE, "the message is not signed")

_NAME = b"dkim-signature"


class Failed(Exception):
    """A check that ends in a result other than pass."""

    def __init__(self, outcome: DkimOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


def may_be_signed(head: bytes) -> bool:
    """Whether to look any closer: one search."""
    return _NAME in head.lower()


class DkimVerification:
    """The signatures of a message whose head is there."""

    __slots__ = ("_fields", "_found", "wanted")

    def __init__(self, fields: HeaderFields, *, now: float, most: int = MAX_SIGNATURES) -> None:
        """`now` in seconds since the epoch; only the first `most` signatures are looked at."""
        self._fields = fields
        self._found = [_read(raw, now) for raw in fields.all(_NAME)[:most]]
        self.wanted = frozenset(s.cover.body for s in self._found if isinstance(s, Signature))

    async def results(
        self, body: BodyHashes, resolver: DnsLookups, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[DkimResult, ...]:
        """One result a signature, in the order of the message; empty when it is not signed.

        `body` has the hashes that are `wanted`, complete.
        """
        names = {s.signer.key_name for s in self._found if isinstance(s, Signature)}
        keys = await look_up_keys(names, resolver, timeout_s)
        results: list[DkimResult] = []
        for one in self._found:
            if isinstance(one, DkimResult):
                results.append(one)
                continue
            if len(self._found) > _AT_ONCE:
                await asyncio.sleep(0)  # others' turn
            results.append(self._verified(one, keys[one.signer.key_name], body))
        return tuple(results)

    def _verified(
        self, signature: Signature, found: KeyRecord | Failed, body: BodyHashes
    ) -> DkimResult:
        body_hash = b""
        whole = True
        try:
            record = usable_key(signature.signer, found)
            if record.is_strict and signature.identity_domain != signature.signer.domain:
                raise Failed(DkimOutcome.PERMERROR, "the key is not for subdomains, but i= is one")
            hashed = body.get(signature.cover.body)
            body_hash, whole = hashed.digest, hashed.hashed == hashed.size
            check_body(signature.cover, hashed)
            signed = signed_octets(
                self._fields, signature.cover.names, signature.raw, signature.cover.header_form
            )
            check_signature(record.key, signature.signer, signed)
        except Failed as failure:
            outcome, reason = failure.outcome, failure.reason
        else:
            outcome, reason = DkimOutcome.PASS, ""
        record_found = found if isinstance(found, KeyRecord) else None
        signer = signature.signer
        return DkimResult(
            outcome,
            reason,
            signer.domain,
            signer.selector,
            signature.identity,
            signer.algorithm.value,
            signer.start,
            record_found.bits if record_found else 0,
            record_found.is_testing if record_found else False,
            whole,
            body_hash,
        )


async def verify_message(
    message: bytes, resolver: DnsLookups, *, now: float, timeout_s: float = TIMEOUT_S
) -> tuple[DkimResult, ...]:
    """The results for a message that is in memory, with CRLF line ends."""
    head, _, body = message.partition(b"\r\n\r\n")
    try:
        verification = DkimVerification(HeaderFields(head + b"\r\n"), now=now)
    except TooManyFields as error:
        return (unread(error),)
    hashes = BodyHashes(verification.wanted)
    hashes.add(body)
    return await verification.results(hashes, resolver, timeout_s=timeout_s)


def unread(error: TooManyFields) -> DkimResult:
    """The result for a message whose header is too long to be looked at."""
    return DkimResult(DkimOutcome.POLICY, str(error))


def _read(raw: bytes, now: float) -> Signature | DkimResult:
    """A signature to verify, or the result for one that cannot be."""
    try:
        signature = parse_signature(raw)
    except BadTags as error:
        domain, selector, start = claims_of(raw)
        return DkimResult(
            DkimOutcome.PERMERROR, str(error), domain, selector, signature_start=start
        )
    problem = ""
    if signature.expires is not None and signature.expires < now:
        problem = "the signature has expired"
    elif signature.signer.time is not None and signature.signer.time > now + CLOCK_SKEW_S:
        problem = "the signature is of the future"
    if not problem:
        return signature
    signer = signature.signer
    return DkimResult(
        DkimOutcome.POLICY,
        problem,
        signer.domain,
        signer.selector,
        signature.identity,
        signer.algorithm.value,
        signer.start,
    )


async def look_up_keys(
    names: Collection[str], resolver: DnsLookups, timeout_s: float
) -> dict[str, KeyRecord | Failed]:
    """The keys at some names of DNS, asked for all at once."""

    async def look_up(name: str) -> KeyRecord | Failed:
        try:
            return await within(timeout_s, lambda: _look_up(name, resolver))
        except TimeoutError:
            return Failed(DkimOutcome.TEMPERROR, "the look-up of the key took too long")

    if len(names) == 1:
        (name,) = names
        return {name: await look_up(name)}
    return await all_of(look_up, names)


async def _look_up(name: str, resolver: DnsLookups) -> KeyRecord | Failed:
    try:
        answer = await resolver.txt(name)
    except DnsFailed as error:
        return Failed(DkimOutcome.TEMPERROR, f"DNS: {_shown(error.question)}"[:200])
    try:
        return select_key(answer.records)
    except BadKey as error:
        outcome = DkimOutcome.POLICY if error.is_policy else DkimOutcome.PERMERROR
        return Failed(outcome, str(error))


def usable_key(signer: SignerTags, found: KeyRecord | Failed) -> KeyRecord:
    """The key, when it is of the kind that the signature names. Raises Failed."""
    if isinstance(found, Failed):
        raise Failed(found.outcome, found.reason)
    is_rsa = isinstance(found.key, RSAPublicKey)
    if is_rsa != (signer.algorithm is Algorithm.RSA_SHA256):
        raise Failed(DkimOutcome.PERMERROR, "the key is not of the signature's algorithm")
    return found


def check_body(cover: CoverTags, hashed: BodyHash) -> None:
    """Raises Failed when the body is not the one that was signed."""
    length = cover.body.length
    if length is not None and length > hashed.size:
        raise Failed(DkimOutcome.PERMERROR, "the tag l= is larger than the body")
    if hashed.digest != cover.body_hash:
        raise Failed(DkimOutcome.FAIL, "the body is not the one that was signed")


def check_signature(key: PublicKey, signer: SignerTags, signed: bytes) -> None:
    """Raises Failed when the header is not the one that was signed."""
    if not is_signed_by(key, signer.signature, signed):
        raise Failed(DkimOutcome.FAIL, "the header is not the one that was signed")


def _shown(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
