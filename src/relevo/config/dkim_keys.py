"""Are the DKIM keys of the domains usable?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relevo.config.certificates import UnusablePem, key_file_exposed, read_pem
from relevo.config.layout import DkimKeyFile, DomainFolder
from relevo.config.problems import Problem, Severity

_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PKCS8_HINT = "convert it: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW"
_KINDS_HINT = "make one: openssl genpkey -algorithm ed25519, or rsa with 2048 bits"

_LEAST_RSA_BITS = 1024  # RFC 8301 §3.2: signers must use at least these
_GOOD_RSA_BITS = 2048  # and should use these


def check_dkim_keys(domain: DomainFolder) -> Iterator[Problem]:
    """Problems of a domain's keys: only PKCS#8 with RSA or Ed25519 is taken, as chasquid does."""
    try:
        keys = domain.dkim_keys()
    except OSError as error:
        yield Problem(str(domain.path), 0, "", f"the folder cannot be read: {error.strerror}")
        return
    for key in keys:
        yield from _check(key)


def _check(key: DkimKeyFile) -> Iterator[Problem]:
    file = str(key.path)
    if not all(map(_SELECTOR.fullmatch, key.selector.split("."))):
        yield Problem(file, 0, "", f"{key.selector!r} is no DKIM selector", "letters, digits, -")
    yield from key_file_exposed(key.path)
    try:
        data = read_pem(key.path)
    except UnusablePem as error:
        yield Problem(file, 0, "", str(error))
        return
    label = match[1].decode() if (match := _LABEL.search(data)) else ""
    if label != "PRIVATE KEY":
        found = f"the file has {label} in it, not" if label else "the file lacks"
        hint = _PKCS8_HINT if label.endswith("PRIVATE KEY") else _KINDS_HINT
        yield Problem(file, 0, "", f"{found} a PRIVATE KEY (PKCS#8)", hint)
        return
    try:
        private = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        yield Problem(file, 0, "", f"the private key cannot be decoded: {error}", _KINDS_HINT)
        return
    match private:
        case Ed25519PrivateKey():
            pass
        case RSAPrivateKey(key_size=bits):
            if bits < _LEAST_RSA_BITS:
                yield Problem(file, 0, "", f"an RSA key of {bits} bits is too short", _KINDS_HINT)
            elif bits < _GOOD_RSA_BITS:
                text = f"an RSA key of {bits} bits is short"
                yield Problem(file, 0, "", text, _KINDS_HINT, Severity.WARNING)
        case _:
            yield Problem(file, 0, "", "the key is neither RSA nor Ed25519", _KINDS_HINT)
