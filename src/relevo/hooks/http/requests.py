"""The request of a call: context and message as JSON, or in parts, and a signature over them.

Up to `INLINE` octets the message is base64 in one JSON object,
`{"context": {…}, "message_b64": "…"}`; a larger one is a part of its own (multipart/form-data,
RFC 7578), behind the context. Nothing of mail gets into the head of the request.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relevo.config.hook_target import ServiceAddress

INLINE: Final = 256 * 1024
"""Octets of a message that go into the JSON object."""

SIGNATURE_FIELD: Final = "Relevo-Signature"
TIMESTAMP_FIELD: Final = "Relevo-Timestamp"


class _Body(msgspec.Struct, omit_defaults=True):
    context: msgspec.Raw
    message_b64: str = ""


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: `before`, the message where that is a part of its own, `after`."""

    content_type: str
    before: bytes
    after: bytes = b""
    has_part: bool = False


def json_body(context: bytes, message: bytes) -> Body:
    """All in one object; without a message it has the context alone."""
    text = base64.b64encode(message).decode()
    return Body("application/json", _encode(_Body(msgspec.Raw(context), text)))


def parts_body(context: bytes, boundary: str) -> Body:
    """Two parts, `context` and `message`. `boundary`: a word that nobody can foresee."""
    before = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="context"\r\n'
        "Content-Type: application/json\r\n\r\n"
    ).encode()
    between = (
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="message"; '
        'filename="message.eml"\r\nContent-Type: message/rfc822\r\n\r\n'
    ).encode()
    after = f"\r\n--{boundary}--\r\n".encode()
    content_type = f"multipart/form-data; boundary={boundary}"
    return Body(content_type, before + context + between, after, has_part=True)


def head(
    address: ServiceAddress, body: Body, size: int, timestamp: int, signature: str = ""
) -> bytes:
    """The head of the request. `size`: octets of the whole body; `signature`: "" for none."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    if address.port != (443 if address.is_tls else 80):
        host = f"{host}:{address.port}"
    lines = [
        f"POST {address.resource} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: relevo",
        "Accept: application/json",
        f"Content-Type: {body.content_type}",
        f"Content-Length: {size}",
        f"{TIMESTAMP_FIELD}: {timestamp}",
    ]
    if signature:
        lines.append(f"{SIGNATURE_FIELD}: sha256={signature}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def sign(secret: bytes, timestamp: int, pieces: Iterable[bytes]) -> str:
    """HMAC-SHA256 in hex over the time in decimal, a full stop, and the body."""
    digest = hmac.new(secret, f"{timestamp}.".encode(), hashlib.sha256)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
