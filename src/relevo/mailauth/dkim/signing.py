"""Signing a message (RFC 6376 §5; header fields as chasquid chooses them).

Always relaxed/relaxed and the whole body. A field is named as often as it occurs; those that must
not be added later are named once more.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from relevo.mailauth.dkim.body_hash import WantedHash, hash_body
from relevo.mailauth.dkim.canonical import Canonicalization
from relevo.mailauth.dkim.fields import HeaderFields, signed_octets
from relevo.mailauth.dkim.private_key import SigningKey

RELAXED_BODY = WantedHash(Canonicalization.RELAXED)

SIGNED = (
    "From", "Reply-To", "Subject", "Date", "To", "Cc",
    "Resent-Date", "Resent-From", "Resent-To", "Resent-Cc",
    "In-Reply-To", "References",
    "List-Id", "List-Help", "List-Unsubscribe", "List-Subscribe", "List-Post", "List-Owner",
    "List-Archive", "Message-ID",
)  # fmt: skip
OVERSIGNED = ("From", "Subject", "Date", "To", "Cc", "Message-ID")

_WIDTH = 70
_MAX_NAMES = 300


def names_to_sign(fields: HeaderFields) -> tuple[str, ...]:
    """The h= tag for a message."""
    names = [name for name in SIGNED for _ in range(fields.count(name.lower().encode()))]
    return (*names[:_MAX_NAMES], *OVERSIGNED)


def sign_head(
    head: bytes, body_hash: bytes, keys: Sequence[SigningKey], *, now: float
) -> list[bytes]:
    """A DKIM-Signature field for each key, with its CRLF; to stand above `head`.

    `body_hash` is SHA-256 of the body in the form of RELAXED_BODY; `now` in seconds since the
    epoch. Raises TooManyFields.
    """
    fields = HeaderFields(head)
    names = names_to_sign(fields)
    return [_sign(fields, names, body_hash, key, int(now)) for key in keys]


def sign_message(message: bytes, keys: Sequence[SigningKey], *, now: float) -> bytes:
    """The signatures for a message in memory, with CRLF line ends. Raises TooManyFields."""
    head, _, body = message.partition(b"\r\n\r\n")
    digest = hash_body(body, RELAXED_BODY).digest
    return b"".join(sign_head(head + b"\r\n", digest, keys, now=now))


def _sign(
    fields: HeaderFields, names: tuple[str, ...], body_hash: bytes, key: SigningKey, now: int
) -> bytes:
    lowered = [name.lower().encode() for name in names]
    tags = [("v", "1"), *signature_tags(key, names, body_hash, now)]
    return sign_field("DKIM-Signature", tags, key, fields, lowered)


def signature_tags(
    key: SigningKey, names: Sequence[str], body_hash: bytes, now: int
) -> list[tuple[str, str]]:
    """What a signature of a message says, but for its beginning and its value."""
    return [
        ("a", key.algorithm.value),
        ("c", "relaxed/relaxed"),
        ("d", key.domain),
        ("s", key.selector),
        ("t", str(now)),
        ("h", ":".join(names)),
        ("bh", encoded_hash(body_hash)),
    ]


def encoded_hash(digest: bytes) -> str:
    """The value of bh=."""
    return base64.b64encode(digest).decode("ascii")


def sign_field(
    name: str,
    tags: Iterable[tuple[str, str]],
    key: SigningKey,
    fields: HeaderFields,
    names: Iterable[bytes],
) -> bytes:
    """A signature field over the fields of some names and itself, b= last, with its CRLF."""
    unsigned = f"{name}: {folded(tags)};\r\n\tb="
    signed = signed_octets(fields, names, unsigned.encode(), Canonicalization.RELAXED)
    return finished(unsigned, key.sign(signed))


def finished(unsigned: str, signature: bytes) -> bytes:
    """The field with the value of its b= tag, which is last, and CRLF."""
    encoded = base64.b64encode(signature).decode("ascii")
    first, width = _WIDTH - len("\tb="), _WIDTH - 1
    lines = [encoded[:first]]
    lines += [encoded[start : start + width] for start in range(first, len(encoded), width)]
    return (unsigned + "\r\n\t".join(lines) + "\r\n").encode()


def folded(tags: Iterable[tuple[str, str]]) -> str:
    """`a=b; c=d` on lines of about 70 characters; h= may be cut at its colons."""
    lines, line = [], ""
    for name, value in tags:
        pieces = [part + ":" for part in value.split(":")] if name == "h" else [value]
        if name == "h":
            pieces[-1] = pieces[-1][:-1]
        pieces[0] = f"{name}={pieces[0]}"
        pieces[-1] += ";"
        for number, piece in enumerate(pieces):
            blank = " " if line and number == 0 else ""
            if line and len(line) + len(blank) + len(piece) > _WIDTH:
                lines.append(line)
                line = piece
            else:
                line += blank + piece
    return "\r\n\t".join([*lines, line]).removesuffix(";")
