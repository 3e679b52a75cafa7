"""The Received-SPF field (RFC 7208 §9.1), in the short form that chasquid writes."""

from __future__ import annotations

from relevo.mailauth.comments import comment
from relevo.mailauth.spf import SpfResult


def received_spf_field(result: SpfResult) -> bytes:
    r"""`Received-SPF: pass (matched ip)` with CRLF; for the top of the message's header."""
    return f"Received-SPF: {result.outcome.value} {comment(result.reason)}\r\n".encode()
