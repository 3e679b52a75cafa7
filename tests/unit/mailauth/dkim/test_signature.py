"""The DKIM-Signature field: what is refused before any key is looked up."""

from __future__ import annotations

import base64

import pytest

from relevo.mailauth.dkim.canonical import Canonicalization
from relevo.mailauth.dkim.signature import claims_of, parse_signature
from relevo.mailauth.dkim.tags import BadTags

HASH = base64.b64encode(bytes(32)).decode()
GOOD = {
    "v": "1", "a": "rsa-sha256", "d": "d.test", "s": "sel", "h": "From:To", "bh": HASH, "b": "YWJj",
}  # fmt: skip


def field(**tags: str | None) -> bytes:
    """A good signature with these tags changed, or left out (None)."""
    text = "; ".join(f"{name}={value}" for name, value in {**GOOD, **tags}.items() if value)
    return f"DKIM-Signature: {text}".encode()


def test_defaults() -> None:
    signature = parse_signature(field())
    assert signature.cover.header_form is Canonicalization.SIMPLE
    assert signature.cover.body.form is Canonicalization.SIMPLE
    assert signature.cover.body.length is None
    assert signature.cover.names == (b"from", b"to")
    assert (signature.identity, signature.identity_domain) == ("@d.test", "d.test")
    assert signature.signer.key_name == "sel._domainkey.d.test"
    assert (signature.expires, signature.signer.time) == (None, None)


def test_words_in_other_letters_and_with_folds() -> None:
    raw = field(a="RSA-SHA256", c="Relaxed/Simple", d="D.Test.", h="\r\n\tFROM :\r\n to", l="7",
                q="http : DNS/TXT", i="Ä@Sub.D.TEST", t="5", x="6")  # fmt: skip
    signature = parse_signature(raw)
    assert signature.signer.domain == "d.test"
    assert signature.cover.header_form is Canonicalization.RELAXED
    assert signature.cover.body.length == 7
    assert signature.cover.names == (b"from", b"to")
    assert signature.identity_domain == "sub.d.test"
    assert (signature.signer.time, signature.expires) == (5, 6)


def test_the_body_form_is_simple_when_only_the_first_is_named() -> None:
    cover = parse_signature(field(c="relaxed")).cover
    assert (cover.header_form.value, cover.body.form.value) == ("relaxed", "simple")


def test_domains_are_looked_up_as_a_labels() -> None:
    assert parse_signature(field(d="bücher.test")).signer.domain == "xn--bcher-kva.test"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"v": "2"}, "another version"),
        ({"v": None}, "v= is missing"),
        ({"a": "rsa-sha1"}, "SHA-1"),
        ({"a": "rsa-sha512"}, "not known"),
        ({"a": None}, "a= is missing"),
        ({"b": None}, "b= is missing"),
        ({"b": "%"}, "b= is not base64"),
        ({"bh": None}, "bh= is missing"),
        ({"bh": "YWJj"}, "bh= is not of 32"),
        ({"c": "nofws"}, "canonicalization"),
        ({"c": "simple/nofws"}, "canonicalization"),
        ({"d": None}, "d= is missing"),
        ({"d": "a b"}, "blanks"),
        ({"d": "legitimate.test(.evil.test"}, "d= is no domain"),
        ({"d": "[127.0.0.1]"}, "d= is no domain"),
        ({"h": None}, "h= is missing"),
        ({"h": "To:Subject"}, "From field is not signed"),
        ({"i": "a@other.test"}, "not that of d="),
        ({"i": "a@xd.test"}, "not that of d="),
        ({"i": "d.test"}, "i= is no address"),
        ({"i": "a@-.test"}, "domain of i="),
        ({"l": "-1"}, "l= is not a number"),
        ({"l": "1" * 77}, "l= is not a number"),
        ({"q": "http"}, "not in DNS"),
        ({"s": None}, "s= is missing"),
        ({"s": "a..b"}, "no selector"),
        ({"s": "a/b"}, "no selector"),
        ({"s": "a" * 254}, "no selector"),
        ({"t": "now"}, "t= is not a number"),
        ({"t": "6", "x": "6"}, "expired before"),
    ],
)
def test_what_is_refused_says_why(changed: dict[str, str | None], said: str) -> None:
    with pytest.raises(BadTags, match=said):
        parse_signature(field(**changed))


def test_a_refused_field_still_tells_whose_it_claims_to_be() -> None:
    claimed = claims_of(field(a="rsa-sha1", b="abcdefgh\r\n ijklmnop"))
    assert claimed == ("d.test", "sel", "abcdefghijkl")
    assert claims_of(b"DKIM-Signature: v=1;;") == ("", "", "")
    assert claims_of(field(d="a b", s="\u20ac")) == ("", "???", "YWJj")
