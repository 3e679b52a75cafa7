"""What is said about one signature of a message (RFC 8601 §2.7.1)."""

from __future__ import annotations

from enum import Enum

from relevo.value import dataclass


class DkimOutcome(Enum):
    """The values are the words of Authentication-Results."""

    NONE = "none"  # not signed
    PASS = "pass"  # noqa: S105 -- a result, no password
    FAIL = "fail"  # acceptable, but header or body are not those that were signed
    POLICY = "policy"  # signed in a way that is not accepted here
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class DkimResult:
    """One signature, from the top of the message.

    `domain` (d=) is what takes responsibility and what DMARC aligns with the author: lower case,
    A-labels, "" where the signature does not tell. `reason` is printable ASCII of at most 200
    characters, "" for a pass. `signature_start` tells signatures apart (header.b). `body_hash` is
    what was found, empty where it was not looked at. `is_testing`: the key's owner asks to treat
    the message as unsigned (t=y).
    """

    outcome: DkimOutcome
    reason: str = ""
    domain: str = ""
    selector: str = ""
    identity: str = ""  # i=, or @ and the domain
    algorithm: str = ""
    signature_start: str = ""
    key_bits: int = 0
    is_testing: bool = False
    is_whole_body: bool = True  # False: l= leaves some of it out
    body_hash: bytes = b""

    @property
    def is_pass(self) -> bool:
        return self.outcome is DkimOutcome.PASS
