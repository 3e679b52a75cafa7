"""ARC (RFC 8617): the chain in which servers that hand mail on vouch for what they found.

Functions over octets, on DKIM's signatures and keys; look-ups are passed in.
"""

from relevo.mailauth.arc.result import NO_CHAIN, ArcLink, ArcOutcome, ArcResult
from relevo.mailauth.arc.sealing import may_be_sealed, seal_head
from relevo.mailauth.arc.validation import ArcValidation, may_have_chain, validate_message

__all__ = [
    "NO_CHAIN",
    "ArcLink",
    "ArcOutcome",
    "ArcResult",
    "ArcValidation",
    "may_be_sealed",
    "may_have_chain",
    "seal_head",
    "validate_message",
]
