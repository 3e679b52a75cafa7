"""LDAP: filters and messages as octets, and what of an answer is a failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.hook.ready import ldap_messages as ldap
from relevo.hook.ready.ldap_aliases import DirectoryFailed, alias_resolve, filter_for
from relevo.hook.testing import RunHook
from unit.hook.ready.conftest import Serve


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("(a=b)", "a306 040161 040162"),
        ("(a=*)", "8701 61"),
        ("(a=b*)", "a408 040161 3003 800162"),
        ("(a=*b*)", "a408 040161 3003 810162"),
        ("(a=\\2a)", "a306 040161 04012a"),
        ("(&(a=b)(!(a=c)))", "a012 a306040161040162 a208 a306040161040163"),
        ("(|(a=b))", "a108 a306040161040162"),
    ],
)
def test_filters(text: str, octets: str) -> None:
    assert ldap.filter_octets(text) == bytes.fromhex(octets)


@pytest.mark.parametrize(
    "text",
    ["", "a=b", "(a=b", "(a=b))", "(&)", "(!(a=b)(a=c))", "(a)", "(&" * 30 + "(a=b)", "(1=x)"],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(ldap.BadFilter):
        ldap.filter_octets(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_address_changes_the_filter(local: str) -> None:
    address = f"{local}@d.test"
    octets = ldap.filter_octets(filter_for("(mail={address})", address))
    value = address.encode()
    assert octets.endswith(bytes([0x04, len(value)]) + value)
    assert octets[0] == 0xA3, "equality, and nothing else"


def element(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


def text(value: str) -> bytes:
    return element(0x04, value.encode())


def message(number: int, tag: int, body: bytes) -> bytes:
    return element(0x30, element(0x02, bytes([number])) + element(tag, body))


def result(number: int, tag: int, code: int) -> bytes:
    return message(number, tag, element(0x0A, bytes([code])) + text("") + text("words"))


def entry(*values: str) -> bytes:
    attribute = element(
        0x30, text("mailForwardingAddress") + element(0x31, b"".join(map(text, values)))
    )
    return message(2, ldap.SEARCH_ENTRY, text("cn=x") + element(0x30, attribute))


DONE = result(2, ldap.SEARCH_DONE, 0)


@pytest.mark.parametrize(
    ("answer", "targets"),
    [
        (DONE, []),
        (entry("a@d.test", "b@d.test") + entry("a@d.test", " ") + DONE, ["a@d.test", "b@d.test"]),
        (message(2, ldap.SEARCH_REFERENCE, text("ldap://x")) + entry("a@b.c") + DONE, ["a@b.c"]),
        (result(2, ldap.SEARCH_DONE, ldap.NO_SUCH_OBJECT), []),
    ],
)  # fmt: skip
def test_answers(run_hook: RunHook, serve: Serve, answer: bytes, targets: list[str]) -> None:
    server = serve(answer, until=b"mailForwardingAddress")
    settings = {"server": f"ldap://{server.target}", "base": "dc=x"}
    assert run_hook(alias_resolve, settings=settings).targets == targets


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(b"", "closed before", id="closed"),
        pytest.param(entry("a@d.test"), "closed before", id="half"),
        pytest.param(result(2, ldap.SEARCH_DONE, 50), "result 50: words", id="refused"),
        pytest.param(result(2, 0x61, 0), "kind 0x61 was not expected", id="another-kind"),
        pytest.param(b"HTTP/1.1 400 Bad\r\n\r\n", "speaks no LDAP", id="another-protocol"),
        pytest.param(b"\x30\x84\xff\xff\xff\xff" + b"x" * 100, "closed before", id="huge-length"),
        pytest.param(message(2, ldap.SEARCH_ENTRY, b"\x04\x7fx"), "speaks no LDAP", id="broken"),
    ],
)
def test_what_is_no_answer(run_hook: RunHook, serve: Serve, answer: bytes, words: str) -> None:
    server = serve(answer, until=b"mailForwardingAddress")
    with pytest.raises(DirectoryFailed, match=words):
        run_hook(alias_resolve, settings={"server": f"ldap://{server.target}", "base": "dc=x"})


def test_a_wrong_password_is_a_failure(run_hook: RunHook, serve: Serve) -> None:
    (run_hook.folder / "password").write_text("p\n")
    server = serve(result(1, ldap.BIND_RESPONSE, 49), until=b"cn=me")
    settings = {
        "server": f"ldap://{server.target}", "base": "dc=x", "name": "cn=me",
        "password_file": str(run_hook.folder / "password"),
    }  # fmt: skip
    with pytest.raises(DirectoryFailed, match="result 49"):
        run_hook(alias_resolve, settings=settings)


@given(st.binary(max_size=60))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    try:
        for each in ldap.messages(bytearray(octets)):
            ldap.values_of(each.body)
    except ldap.BadMessage:
        pass
