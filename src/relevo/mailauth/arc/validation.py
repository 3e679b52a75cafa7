"""Validating the chain of a message (RFC 8617 §5.2).

As with DKIM: the head tells which hash of the body is wanted, keys of all links are looked up at
once, and nothing raises. Only the newest ARC-Message-Signature must hold; older ones need not,
since that is what the chain is for.
"""

from __future__ import annotations

import asyncio

from relevo.dns import DnsLookups
from relevo.mailauth.arc.result import NO_CHAIN, ArcLink, ArcOutcome, ArcResult
from relevo.mailauth.arc.sets import ArcSet, BrokenChain, check_states, read_sets, sealed_octets
from relevo.mailauth.dkim.body_hash import BodyHashes, WantedHash
from relevo.mailauth.dkim.fields import HeaderFields, TooManyFields, signed_octets
from relevo.mailauth.dkim.key_record import KeyRecord
from relevo.mailauth.dkim.result import DkimOutcome
from relevo.mailauth.dkim.verification import (
    TIMEOUT_S,
    Failed,
    check_body,
    check_signature,
    look_up_keys,
    usable_key,
)

_ARC = b"\narc-"
_SHORT = 1  # links of a chain that is verified in one go


def may_have_chain(head: bytes) -> bool:
    """Whether to look any closer: one search."""
    return _ARC in b"\n" + head.lower()


class ArcValidation:
    """The chain of a message whose head is there."""

    __slots__ = ("_fields", "_problem", "sets", "wanted")

    def __init__(self, fields: HeaderFields) -> None:
        self._fields = fields
        self._problem = ""
        self.sets: tuple[ArcSet, ...] = ()
        try:
            self.sets = read_sets(fields)
        except BrokenChain as error:
            self._problem = str(error)
        newest = self.sets[-1:]
        self.wanted: frozenset[WantedHash] = frozenset(one.cover.body for one in newest)

    @property
    def has_fields(self) -> bool:
        """Whether there is anything to judge."""
        return bool(self.sets or self._problem)

    async def result(
        self, body: BodyHashes, resolver: DnsLookups, *, timeout_s: float = TIMEOUT_S
    ) -> ArcResult:
        """The state of the chain. `body` has the hashes that are `wanted`, complete."""
        if self._problem:
            return ArcResult(ArcOutcome.FAIL, self._problem)
        if not self.sets:
            return NO_CHAIN
        newest = self.sets[-1]
        links = tuple(
            ArcLink(one.instance, one.signer.domain, one.results_value) for one in self.sets
        )
        if newest.state is ArcOutcome.FAIL:
            text = f"i={newest.instance}: the seal says cv=fail"
            return ArcResult(ArcOutcome.FAIL, text, links, is_closed=True)
        try:
            check_states(self.sets)
        except BrokenChain as error:
            return ArcResult(ArcOutcome.FAIL, str(error), links)
        names = {one.signer.key_name for one in self.sets} | {newest.message_signer.key_name}
        keys = await look_up_keys(names, resolver, timeout_s)
        try:
            if len(self.sets) > _SHORT:
                await asyncio.sleep(0)
            self._check_message(newest, keys, body)
            for count in range(len(self.sets), 0, -1):
                if len(self.sets) > _SHORT:
                    await asyncio.sleep(0)  # others' turn: seals of a long chain cover a lot
                self._check_seal(self.sets[:count], keys)
        except Failed as failure:
            is_temporary = failure.outcome is DkimOutcome.TEMPERROR
            return ArcResult(ArcOutcome.FAIL, str(failure), links, is_temporary=is_temporary)
        return ArcResult(ArcOutcome.PASS, "", links)

    def _check_message(
        self, newest: ArcSet, keys: dict[str, KeyRecord | Failed], body: BodyHashes
    ) -> None:
        signer, cover = newest.message_signer, newest.cover
        try:
            record = usable_key(signer, keys[signer.key_name])
            check_body(cover, body.get(cover.body))
            signed = signed_octets(
                self._fields, cover.names, newest.message_signature, cover.header_form
            )
            check_signature(record.key, signer, signed)
        except Failed as failure:
            text = f"ARC-Message-Signature i={newest.instance}: {failure.reason}"
            raise Failed(failure.outcome, text) from failure

    @staticmethod
    def _check_seal(sets: tuple[ArcSet, ...], keys: dict[str, KeyRecord | Failed]) -> None:
        newest = sets[-1]
        try:
            record = usable_key(newest.signer, keys[newest.signer.key_name])
            signed = sealed_octets([(s.results, s.message_signature, s.seal) for s in sets])
            check_signature(record.key, newest.signer, signed)
        except Failed as failure:
            text = f"ARC-Seal i={newest.instance}: {failure.reason}"
            raise Failed(failure.outcome, text) from failure


async def validate_message(
    message: bytes, resolver: DnsLookups, *, timeout_s: float = TIMEOUT_S
) -> ArcResult:
    """The state of the chain of a message that is in memory, with CRLF line ends."""
    head, _, body = message.partition(b"\r\n\r\n")
    try:
        validation = ArcValidation(HeaderFields(head + b"\r\n"))
    except TooManyFields as error:
        return ArcResult(ArcOutcome.FAIL, str(error))
    hashes = BodyHashes(validation.wanted)
    hashes.add(body)
    return await validation.result(hashes, resolver, timeout_s=timeout_s)
