"""Public keys as domains publish them: `v=DKIM1; k=rsa; p=…` (RFC 6376 §3.6.1, RFC 8463 §4)."""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import load_der_public_key

from relevo.mailauth.dkim.tags import BadTags, from_base64, list_of, parse_tags
from relevo.value import dataclass

LEAST_RSA_BITS = 1024  # RFC 8301 §3.2
MOST_RSA_BITS = 8192  # a verification of it takes 0.3 ms
_MOST_EXPONENT_BITS = 33  # a large one makes verifying slow
_MOST_RECORDS = 10

PublicKey = RSAPublicKey | Ed25519PublicKey


class BadKey(Exception):
    """No key that can verify; the text is printable ASCII. `is_policy`: only we do not take it."""

    def __init__(self, text: str, *, is_policy: bool = False) -> None:
        super().__init__(text)
        self.is_policy = is_policy


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A usable key. `is_testing`: t=y; `is_strict`: t=s, no identities of subdomains."""

    key: PublicKey
    bits: int
    is_testing: bool = False
    is_strict: bool = False


def select_key(records: tuple[bytes, ...]) -> KeyRecord:
    """The first usable one of the records at a key's name. Raises BadKey with the first's reason.

    There should be one (RFC 6376 §3.6.2.2); names are shared with other things by wildcards.
    """
    first: BadKey | None = None
    for record in records[:_MOST_RECORDS]:
        try:
            return parse_key_record(record)
        except BadKey as error:
            first = first or error
    raise first or BadKey("no key for the signature")


@lru_cache(maxsize=512)  # records have up to 16 KiB
def parse_key_record(record: bytes) -> KeyRecord:
    """The key of a TXT record. Raises BadKey."""
    try:
        tags = parse_tags(record)
        if "v" in tags and (next(iter(tags)) != "v" or tags["v"] != b"DKIM1"):
            raise BadTags("the record is of another version")
        if "p" not in tags:
            raise BadTags("the tag p= is missing")
        public = from_base64(tags["p"], "p")
    except BadTags as error:
        raise BadKey(f"key record: {error}") from error
    if not public:
        raise BadKey("the key is revoked")
    if b"sha256" not in list_of(tags.get("h", b"sha256")):
        raise BadKey("key record: the key is not for SHA-256")
    if not {b"*", b"email"} & set(list_of(tags.get("s", b"*"))):
        raise BadKey("key record: the key is not for mail")
    flags = list_of(tags.get("t", b""))
    key, bits = _public_key(tags.get("k", b"rsa"), public)
    return KeyRecord(key, bits, is_testing=b"y" in flags, is_strict=b"s" in flags)


def _public_key(kind: bytes, octets: bytes) -> tuple[PublicKey, int]:
    if kind == b"ed25519":
        try:
            return Ed25519PublicKey.from_public_bytes(octets), 256
        except ValueError as error:
            raise BadKey("key record: the Ed25519 key is not of 32 octets") from error
    if kind != b"rsa":
        raise BadKey("key record: the kind of key is not known")
    try:
        key = load_der_public_key(octets)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey("key record: the RSA key cannot be read") from error
    if not isinstance(key, RSAPublicKey):
        raise BadKey("key record: the key is not of its kind")
    if key.key_size < LEAST_RSA_BITS:
        raise BadKey(f"an RSA key of {key.key_size} bits is too short", is_policy=True)
    if key.key_size > MOST_RSA_BITS:
        raise BadKey(f"an RSA key of {key.key_size} bits is too long", is_policy=True)
    if key.public_numbers().e.bit_length() > _MOST_EXPONENT_BITS:
        raise BadKey("the exponent of the RSA key is too large", is_policy=True)
    return key, key.key_size


def is_signed_by(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    """Whether the key's owner signed the octets (RSA: RFC 6376 §3.3; Ed25519: RFC 8463 §3)."""
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, signed, PKCS1v15(), SHA256())
        else:
            digest = Hash(SHA256())
            digest.update(signed)
            key.verify(signature, digest.finalize())
    except InvalidSignature:
        return False
    return True
