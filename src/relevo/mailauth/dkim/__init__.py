"""DKIM (RFC 6376, 8301, 8463): verifying signatures, making them, and the keys of both.

Functions over octets; look-ups are passed in. Bodies are hashed piece by piece.
"""

from relevo.mailauth.dkim.body_hash import PIECE, BodyHashes, WantedHash
from relevo.mailauth.dkim.fields import HeaderFields, TooManyFields
from relevo.mailauth.dkim.private_key import SigningKey
from relevo.mailauth.dkim.result import DkimOutcome, DkimResult
from relevo.mailauth.dkim.signing import RELAXED_BODY, sign_head, sign_message
from relevo.mailauth.dkim.verification import (
    MAX_SIGNATURES,
    UNSIGNED,
    DkimVerification,
    may_be_signed,
    unread,
    verify_message,
)

__all__ = [
    "MAX_SIGNATURES",
    "PIECE",
    "RELAXED_BODY",
    "UNSIGNED",
    "BodyHashes",
    "DkimOutcome",
    "DkimResult",
    "DkimVerification",
    "HeaderFields",
    "SigningKey",
    "TooManyFields",
    "WantedHash",
    "may_be_signed",
    "sign_head",
    "sign_message",
    "unread",
    "verify_message",
]
