"""Sealing: our link of the chain, for a message that we hand on to others (RFC 8617 §5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from relevo.mailauth.arc.result import ArcOutcome, ArcResult
from relevo.mailauth.arc.sets import MAX_INSTANCES, ArcSet, sealed_octets
from relevo.mailauth.dkim.fields import HeaderFields
from relevo.mailauth.dkim.private_key import SigningKey
from relevo.mailauth.dkim.signing import (
    finished,
    folded,
    names_to_sign,
    sign_field,
    signature_tags,
)

_ALSO_SIGNED = ("DKIM-Signature", "MIME-Version", "Content-Type", "Content-Transfer-Encoding")


def may_be_sealed(found: ArcResult) -> bool:
    """Whether a link can be added: not to a chain that is closed, full, or unknown now."""
    return not found.is_closed and not found.is_temporary and len(found.links) < MAX_INSTANCES


def seal_head(
    head: bytes,
    body_hash: bytes,
    key: SigningKey,
    *,
    results: bytes,
    found: ArcResult,
    sets: Sequence[ArcSet],
    now: float,
) -> bytes:
    """Seal, signature and results of our link, each with its CRLF; to stand above `head`.

    `body_hash` as for DKIM; `results` is the value of our Authentication-Results field; `found` and
    `sets` are those of the chain so far, which `may_be_sealed`. Raises TooManyFields.
    """
    fields = HeaderFields(head)
    instance = len(sets) + 1
    ours = b"ARC-Authentication-Results: i=%d; %b" % (instance, results.strip(b" \t\r\n"))
    signature = _message_signature(fields, body_hash, key, instance, int(now))
    is_broken = found.outcome is ArcOutcome.FAIL
    unsealed = "ARC-Seal: " + folded(
        [
            ("i", str(instance)),
            ("a", key.algorithm.value),
            ("cv", found.outcome.value),
            ("d", key.domain),
            ("s", key.selector),
            ("t", str(int(now))),
        ]
    )
    unsealed += ";\r\n\tb="
    # §5.1.2: the seal of a broken chain is about itself alone
    before = [] if is_broken else [(s.results, s.message_signature, s.seal) for s in sets]
    octets = sealed_octets([*before, (ours, signature[:-2], unsealed.encode())])
    return finished(unsealed, key.sign(octets)) + signature + ours + b"\r\n"


def _message_signature(
    fields: HeaderFields, body_hash: bytes, key: SigningKey, instance: int, now: int
) -> bytes:
    names = [name for name in _ALSO_SIGNED for _ in range(fields.count(name.lower().encode()))]
    names += names_to_sign(fields)
    lowered = [name.lower().encode() for name in names]
    tags = [("i", str(instance)), *signature_tags(key, names, body_hash, now)]
    return sign_field("ARC-Message-Signature", tags, key, fields, lowered)
