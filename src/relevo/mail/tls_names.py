"""Names of TLS versions and cipher suites as trace fields write them.

OpenSSL has names of its own for the suites of TLS 1.2; RFC 8314 §4.3 asks for IANA's. An unknown
suite keeps OpenSSL's name, so that the field is never wrong.
"""

from __future__ import annotations

import re

_VERSIONS = {
    "SSLv3": "SSL-3.0",
    "TLSv1": "TLS-1.0",
    "TLSv1.1": "TLS-1.1",
    "TLSv1.2": "TLS-1.2",
    "TLSv1.3": "TLS-1.3",
}

# Key exchange, then cipher and, where OpenSSL spells it out, the hash.
_SUITE = re.compile(
    r"(?P<exchange>ECDHE-ECDSA|ECDHE-RSA|DHE-RSA|(?=AES|CAMELLIA))-?"
    r"(?P<cipher>AES128|AES256|CAMELLIA128|CAMELLIA256|CHACHA20-POLY1305)"
    r"(?:-(?P<mode>GCM|CCM8?))?(?:-(?P<hash>SHA|SHA256|SHA384))?"
)
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]")


def tls_version_name(version: str) -> str:
    """`TLS-1.3` for what `ssl.SSLSocket.version()` calls `TLSv1.3`; itself stays as it is."""
    return _VERSIONS.get(version) or _NOT_IN_NAME.sub("", version)


def iana_cipher_name(openssl_name: str) -> str:
    """`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` for `ECDHE-RSA-AES128-GCM-SHA256`."""
    parts = _SUITE.fullmatch(openssl_name)
    if parts is None:
        return _NOT_IN_NAME.sub("", openssl_name)
    exchange = parts["exchange"].replace("-", "_") or "RSA"
    if parts["cipher"] == "CHACHA20-POLY1305":
        return f"TLS_{exchange}_WITH_CHACHA20_POLY1305_SHA256"
    name, bits = parts["cipher"][:-3], parts["cipher"][-3:]
    if parts["mode"] and parts["mode"].startswith("CCM"):
        return f"TLS_{exchange}_WITH_{name}_{bits}_{parts['mode'].replace('CCM8', 'CCM_8')}"
    return f"TLS_{exchange}_WITH_{name}_{bits}_{parts['mode'] or 'CBC'}_{parts['hash'] or 'SHA'}"
