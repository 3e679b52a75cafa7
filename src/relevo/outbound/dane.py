"""DANE: a host's certificate checked by its TLSA records (RFC 7671, RFC 7672)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.outbound.host_tls import TlsaRecord


def check_chain(chain: Sequence[bytes], records: Sequence[TlsaRecord], names: Sequence[str]) -> str:
    """Why the chain (DER, the host's own certificate first) is not what the records name, or ""."""
    raise NotImplementedError
