"""ARC against the public suite: every message's chain, and the seals of its reference."""

from __future__ import annotations

import asyncio
import re

import dkim
import pytest

from conformance.arc.suite import SealingCase, ValidationCase, sealing_cases, validation_cases
from relevo.mailauth.arc import (
    ArcOutcome,
    ArcResult,
    ArcValidation,
    may_be_sealed,
    seal_head,
    validate_message,
)
from relevo.mailauth.dkim import RELAXED_BODY, BodyHashes, HeaderFields, SigningKey
from relevo.mailauth.dkim.private_key import read_private_key

LATER = 1_500_000_000
SIGNATURE = re.compile(r"\bb=[^;]*")
NOT_SEALED = "no_additional_sig"
SEALED = [case for case in sealing_cases() if case.name != NOT_SEALED]


def by_name(case: ValidationCase | SealingCase) -> str:
    return case.name


@pytest.mark.parametrize("case", validation_cases(), ids=by_name)
def test_state_of_the_chain(case: ValidationCase) -> None:
    result = asyncio.run(validate_message(case.message, case.keys))
    if case.expected:
        assert result.outcome.value == case.expected.lower(), result.reason
    else:  # the suite leaves open what is said; that nothing breaks is what it asks for
        assert result.outcome is ArcOutcome.FAIL


@pytest.mark.parametrize("case", SEALED, ids=by_name)
def test_the_seal_of_the_reference_is_valid(case: SealingCase) -> None:
    """A seal is deterministic: one that verifies was made over the same octets as ours.

    The reference made it before it folded the signature's b= tag.
    """
    signature = SIGNATURE.sub(lambda tag: "".join(tag[0].split()), case.message_signature, count=1)
    fields = {
        "ARC-Seal": case.seal,
        "ARC-Message-Signature": signature,
        "ARC-Authentication-Results": case.results,
    }
    sealed = "".join(f"{name}: {' '.join(text.split())}\r\n" for name, text in fields.items())
    result = asyncio.run(validate_message(sealed.encode() + case.message, case.keys))
    if case.name.endswith("_fail"):
        assert result.is_closed
    else:
        assert result.is_pass, result.reason


@pytest.mark.parametrize("case", SEALED, ids=by_name)
def test_our_seal_of_its_messages_is_valid_here_and_in_dkimpy(case: SealingCase) -> None:
    head, _, body = case.message.partition(b"\r\n\r\n")
    head += b"\r\n"
    found, validation, digest = asyncio.run(_validated(head, body, case))
    assert may_be_sealed(found)
    sealed = seal_head(
        head,
        digest,
        SigningKey(case.domain, case.selector, read_private_key(case.private_key)),
        results=b"lists.example.org; spf=pass",
        found=found,
        sets=validation.sets,
        now=LATER,
    )
    again = asyncio.run(validate_message(sealed + case.message, case.keys))
    state, _, reason = dkim.arc_verify(sealed + case.message, dnsfunc=case.keys.for_dkimpy)
    assert len(again.links) == len(found.links) + 1
    if found.outcome is ArcOutcome.FAIL:
        assert again.is_closed
        assert not may_be_sealed(again)
    else:
        assert again.is_pass, again.reason
        assert state == b"pass", reason


def test_a_closed_chain_is_left_alone() -> None:
    (case,) = (case for case in sealing_cases() if case.name == NOT_SEALED)
    result = asyncio.run(validate_message(case.message, case.keys))
    assert case.seal.strip() == ""
    assert not may_be_sealed(result)


def test_the_suite_is_whole() -> None:
    assert len(validation_cases()) == 171
    assert len(sealing_cases()) == 17


async def _validated(
    head: bytes, body: bytes, case: SealingCase
) -> tuple[ArcResult, ArcValidation, bytes]:
    validation = ArcValidation(HeaderFields(head))
    hashes = BodyHashes({*validation.wanted, RELAXED_BODY})
    hashes.add(body)
    found = await validation.result(hashes, case.keys)
    return found, validation, hashes.get(RELAXED_BODY).digest
