"""ARC sets: what forms a chain, and what breaks one before any key is looked up."""

from __future__ import annotations

import base64

import pytest

from relevo.mailauth.arc.sets import BrokenChain, check_states, read_sets
from relevo.mailauth.dkim import HeaderFields

HASH = base64.b64encode(bytes(32))


def link(instance: int | str, cv: str = "pass") -> list[bytes]:
    i = str(instance).encode()
    tags = b"a=rsa-sha256; d=d.test; s=s; b=AAAA"
    return [
        b"ARC-Seal: i=%b; cv=%b; %b\r\n" % (i, cv.encode(), tags),
        b"ARC-Message-Signature: i=%b; %b; h=from; bh=%b\r\n" % (i, tags, HASH),
        b"ARC-Authentication-Results: i=%b; mx.test; spf=pass\r\n" % i,
    ]


def changed(old: bytes, new: bytes) -> list[bytes]:
    """A good first link with something replaced in each field."""
    return [field.replace(old, new) for field in link(1, "none")]


def chain(*links: list[bytes]) -> HeaderFields:
    return HeaderFields(b"".join(field for one in links for field in one))


def test_sets_are_in_order_whatever_that_of_the_fields() -> None:
    sets = read_sets(chain(link(2), link(1, "none"), link(3)))
    assert [one.instance for one in sets] == [1, 2, 3]
    assert sets[0].results_value == b"mx.test; spf=pass"
    check_states(sets)


def test_no_fields_are_no_chain() -> None:
    assert read_sets(HeaderFields(b"From: a@d.test\r\n")) == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (link(1, "none")[:2], "missing"),
        (link(1, "none")[1:], "missing"),
        (link(2), "missing"),
        (link(1, "none") + link(3), "missing"),
        (link(1, "none") * 2, "occurs twice"),
        (link(0, "none"), "1 to 50"),
        (link(51, "none"), "1 to 50"),
        (link("x", "none"), "i= is missing"),
        (link(1, "maybe"), "cv="),
        (changed(b"i=1; ", b""), "i= is missing"),
        (changed(b"cv=none", b"h=from; cv=none"), "h= must not"),
        (changed(b"h=from", b"h=from:ARC-Seal"), "name ARC-Seal"),
        (changed(b"d=d.test", b"d=_"), "d= is no domain"),
        ([b"ARC-Seal: i=1\r\n"] * 51, "too long"),
    ],
)  # fmt: skip
def test_a_broken_chain_says_why(fields: list[bytes], said: str) -> None:
    with pytest.raises(BrokenChain, match=said):
        read_sets(chain(fields))


@pytest.mark.parametrize("states", [("pass",), ("none", "none"), ("none", "pass", "fail")])
def test_states_follow_each_other(states: tuple[str, ...]) -> None:
    links = [link(number, state) for number, state in enumerate(states, 1)]
    with pytest.raises(BrokenChain, match=f"i={len(states)}"):
        check_states(read_sets(chain(*links)))
