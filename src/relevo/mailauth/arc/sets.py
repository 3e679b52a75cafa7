"""The ARC sets of a message: three fields an instance (RFC 8617 §4), and whether they form a chain.

The fields are read as strictly as DKIM's: what is malformed, missing, repeated or out of order
means that there is no chain to believe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from relevo.mailauth.arc.result import ArcOutcome
from relevo.mailauth.dkim.canonical import Canonicalization, canonical_field
from relevo.mailauth.dkim.fields import HeaderFields, without_signature
from relevo.mailauth.dkim.signature import CoverTags, SignerTags, cover_tags, signer_tags
from relevo.mailauth.dkim.tags import BadTags, Tags, number_of, parse_tags, required
from relevo.value import dataclass

MAX_INSTANCES = 50  # §5.1.1: i= goes from 1 to 50

RESULTS = b"arc-authentication-results"
MESSAGE_SIGNATURE = b"arc-message-signature"
SEAL = b"arc-seal"

_DEFAULT_FORM = b"relaxed/relaxed"  # of c=: what the public suite and other software expect
_INSTANCE = re.compile(
    rb"[ \t\r\n]*+i[ \t\r\n]*+=[ \t\r\n]*+([0-9]{1,2})[ \t\r\n]*+;(.*)", re.DOTALL
)


class BrokenChain(Exception):
    """The sets do not form a chain; the text is printable ASCII."""


@dataclass(frozen=True, slots=True)
class ArcSet:
    """One instance. The fields are whole, without the CRLF behind each."""

    instance: int
    results: bytes
    message_signature: bytes
    seal: bytes
    signer: SignerTags  # of the seal
    state: ArcOutcome  # cv=: what the sealer thought of the chain before it
    message_signer: SignerTags
    cover: CoverTags

    @property
    def results_value(self) -> bytes:
        """What stands behind `i=…;`."""
        found = _INSTANCE.match(self.results.partition(b":")[2])
        assert found is not None
        return found[2].strip(b" \t\r\n")


def read_sets(fields: HeaderFields) -> tuple[ArcSet, ...]:
    """The sets in order of instance; empty when there is none. Raises BrokenChain (§5.2)."""
    results = _by_instance(fields.all(RESULTS), _results_instance, "ARC-Authentication-Results")
    signatures = _by_instance(
        fields.all(MESSAGE_SIGNATURE), _tagged_instance, "ARC-Message-Signature"
    )
    seals = _by_instance(fields.all(SEAL), _tagged_instance, "ARC-Seal")
    count = len(seals)
    wanted = set(range(1, count + 1))
    if not (set(results) == set(signatures) == set(seals) == wanted):
        raise BrokenChain("fields of the chain are missing")
    sets = []
    for instance in range(1, count + 1):
        try:
            sets.append(_set(instance, results[instance], signatures[instance], seals[instance]))
        except BadTags as error:
            raise BrokenChain(f"i={instance}: {error}") from error
    return tuple(sets)


def check_states(sets: Sequence[ArcSet]) -> None:
    """Raises BrokenChain unless each sealer found the chain before it in order (§5.2)."""
    for one in sets:
        expected = ArcOutcome.NONE if one.instance == 1 else ArcOutcome.PASS
        if one.state is not expected:
            raise BrokenChain(f"i={one.instance}: the seal says cv={one.state.value}")


def sealed_octets(sets: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
    """What the last of these seals is made over (§5.1.1): results, signature, seal of each set."""
    lines = [canonical_field(field, Canonicalization.RELAXED) for one in sets[:-1] for field in one]
    results, signature, seal = sets[-1]
    lines += [
        canonical_field(field, Canonicalization.RELAXED)
        for field in (results, signature, without_signature(seal))
    ]
    return b"\r\n".join(lines)


Read = tuple[bytes, Tags]
_InstanceReader = Callable[[bytes], tuple[int, Tags]]


def _by_instance(
    found: Sequence[bytes], instance_of: _InstanceReader, name: str
) -> dict[int, Read]:
    if len(found) > MAX_INSTANCES:
        raise BrokenChain("the chain is too long")
    by_instance: dict[int, Read] = {}
    for raw in found:
        try:
            instance, tags = instance_of(raw)
        except BadTags as error:
            raise BrokenChain(f"{name}: {error}") from error
        if not 1 <= instance <= MAX_INSTANCES:
            raise BrokenChain(f"{name}: the tag i= is not from 1 to {MAX_INSTANCES}")
        if instance in by_instance:
            raise BrokenChain(f"{name}: i={instance} occurs twice")
        by_instance[instance] = raw, tags
    return by_instance


def _results_instance(raw: bytes) -> tuple[int, Tags]:
    found = _INSTANCE.match(raw.partition(b":")[2])
    if found is None:
        raise BadTags("the tag i= is missing")
    return int(found[1]), {}


def _tagged_instance(raw: bytes) -> tuple[int, Tags]:
    tags = parse_tags(raw.partition(b":")[2])
    instance = number_of(tags, "i", digits=2)
    if instance is None:
        raise BadTags("the tag i= is missing")
    return instance, tags


def _set(instance: int, results: Read, signature: Read, seal: Read) -> ArcSet:
    if "h" in seal[1]:
        raise BadTags("ARC-Seal: the tag h= must not be there")
    cover = cover_tags(signature[1], default_form=_DEFAULT_FORM)
    if SEAL in cover.names:
        raise BadTags("ARC-Message-Signature: the tag h= must not name ARC-Seal")
    try:
        state = ArcOutcome(required(seal[1], "cv").decode("utf-8", "replace").lower())
    except ValueError as error:
        if isinstance(error, BadTags):
            raise
        raise BadTags("ARC-Seal: the tag cv= is none of none, pass, fail") from error
    return ArcSet(
        instance,
        results[0],
        signature[0],
        seal[0],
        signer_tags(seal[1]),
        state,
        signer_tags(signature[1]),
        cover,
    )
