"""The DKIM-Signature field as a value (RFC 6376 §3.5, §6.1.1), with the checks that need no key."""

from __future__ import annotations

import base64
import re
from enum import Enum
from functools import lru_cache

from relevo.mail import InvalidAddress, normalize_domain
from relevo.mail.address import domain_to_ascii
from relevo.mailauth.dkim.body_hash import WantedHash
from relevo.mailauth.dkim.canonical import Canonicalization
from relevo.mailauth.dkim.tags import (
    BadTags,
    Tags,
    list_of,
    number_of,
    octets_of,
    parse_tags,
    required,
    text_of,
)
from relevo.value import dataclass

MAX_SELECTOR = 253
_START = 12  # characters of b= that tell signatures apart
_SELECTOR = re.compile(r"[^\x00-\x20/@\x7f\"\\:;,<>()\[\]*]+")
_SHA256_OCTETS = 32
# by the value of c= in lower case; without the second word the body is simple
_FORMS = {
    form: (header, body)
    for header in Canonicalization
    for body in Canonicalization
    for form in (
        f"{header.value}/{body.value}".encode(),
        *(
            (f"{header.value}".encode(), f"{header.value}/".encode())
            if body.value == "simple"
            else ()
        ),
    )
}


class Algorithm(Enum):
    """The values are the words of the a= tag. Others are not verified (RFC 8301 §3.1)."""

    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"


@dataclass(frozen=True, slots=True)
class SignerTags:
    """Who signed, and how: the tags that DKIM-Signature and the ARC fields share."""

    algorithm: Algorithm
    domain: str  # A-labels, lower case
    selector: str
    signature: bytes
    time: int | None

    @property
    def start(self) -> str:
        """What tells it from other signatures, for header.b (RFC 6008)."""
        return base64.b64encode(self.signature[: _START * 3 // 4]).decode("ascii")

    @property
    def key_name(self) -> str:
        """Where in DNS the key is."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class CoverTags:
    """What was signed: header fields (names in lower case) and a body."""

    names: tuple[bytes, ...]
    header_form: Canonicalization
    body: WantedHash
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that can be verified once its key is there."""

    raw: bytes  # its field, without the CRLF behind it
    signer: SignerTags
    cover: CoverTags
    identity: str
    identity_domain: str
    expires: int | None


def parse_signature(raw: bytes) -> Signature:
    """A whole field of a message. Raises BadTags, whose text says what is wrong."""
    tags = parse_tags(raw.partition(b":")[2])
    if required(tags, "v") != b"1":
        raise BadTags("the signature is of another version")
    signer = signer_tags(tags)
    cover = cover_tags(tags)
    if b"from" not in cover.names:
        raise BadTags("the From field is not signed")
    methods = list_of(tags.get("q", b"dns/txt"))
    if b"dns/txt" not in methods:
        raise BadTags("the key is not in DNS")
    identity, identity_domain = _identity(tags, signer.domain)
    expires = number_of(tags, "x", digits=12)
    if expires is not None and signer.time is not None and expires <= signer.time:
        raise BadTags("the signature expired before it was made")
    return Signature(raw, signer, cover, identity, identity_domain, expires)


def signer_tags(tags: Tags) -> SignerTags:
    """a=, d=, s=, b=, t= (RFC 6376 §3.5). Raises BadTags."""
    name = required(tags, "a").decode("utf-8", "replace").lower()
    if name == "rsa-sha1":
        raise BadTags("signatures with SHA-1 are not accepted")
    try:
        algorithm = Algorithm(name)
    except ValueError as error:
        raise BadTags("the algorithm is not known") from error
    domain = _domain(text_of(tags, "d"))
    selector = text_of(tags, "s")
    if len(selector) > MAX_SELECTOR or not _is_selector(selector):
        raise BadTags("the tag s= is no selector")
    return SignerTags(
        algorithm,
        domain,
        selector,
        octets_of(tags, "b"),
        number_of(tags, "t", digits=12),
    )


@lru_cache(maxsize=1024)
def _is_selector(text: str) -> bool:
    return all(map(_SELECTOR.fullmatch, text.split(".")))


def cover_tags(tags: Tags, *, default_form: bytes = b"simple/simple") -> CoverTags:
    """h=, c=, l=, bh= (RFC 6376 §3.5). Raises BadTags."""
    if "h" not in tags:
        raise BadTags("the tag h= is missing")
    names = tuple(name for name in list_of(tags["h"]) if name)
    forms = _FORMS.get(tags.get("c", default_form).lower())
    if forms is None:
        raise BadTags("the canonicalization is not known")
    header_form, body_form = forms
    body_hash = octets_of(tags, "bh")
    if len(body_hash) != _SHA256_OCTETS:
        raise BadTags("the tag bh= is not of 32 octets")
    length = number_of(tags, "l", digits=76)
    return CoverTags(names, header_form, WantedHash(body_form, length), body_hash)


def _domain(text: str) -> str:
    try:
        domain = domain_to_ascii(normalize_domain(text.removesuffix(".")))
    except InvalidAddress as error:
        raise BadTags("the tag d= is no domain") from error
    if domain.startswith("["):
        raise BadTags("the tag d= is no domain")
    return domain


def _identity(tags: Tags, domain: str) -> tuple[str, str]:
    """i= and its domain, which is d= or below it."""
    if "i" not in tags:
        return f"@{domain}", domain
    text = required(tags, "i").decode("utf-8", "replace")
    identity_domain = text.rpartition("@")[2]
    if "@" not in text:
        raise BadTags("the tag i= is no address")
    try:
        found = domain_to_ascii(normalize_domain(identity_domain))
    except InvalidAddress as error:
        raise BadTags("the domain of i= is no domain") from error
    if found != domain and not found.endswith("." + domain):
        raise BadTags("the domain of i= is not that of d=, nor below it")
    return text, found


def claims_of(raw: bytes) -> tuple[str, str, str]:
    """d=, s= and the start of b= of a field that may be no signature, as far as they can be read.

    For results about it: printable ASCII, "" for what is not there.
    """
    try:
        tags = parse_tags(raw.partition(b":")[2])
    except BadTags:
        return "", "", ""
    try:
        domain = _domain(text_of(tags, "d"))
    except BadTags:
        domain = ""
    return domain, _shown(tags.get("s", b"")), signature_start(tags.get("b", b""))


def signature_start(value: bytes) -> str:
    """The first characters of a b= value, for header.b (RFC 6008)."""
    return _shown(value.translate(None, b" \t\r\n")[:_START])


def _shown(value: bytes) -> str:
    text = value[:MAX_SELECTOR].decode("ascii", "replace")
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
