"""Contract v1: thirteen variables, what an end means, and the octets of stdin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.hooks import contract_v1
from relevo.hooks.contract import (
    Accept,
    Changes,
    Client,
    InvalidVerdict,
    PostDataContext,
    Refuse,
    Tls,
)

CONTEXT = PostDataContext(
    message_id="id",
    client=Client("192.0.2.7", 4711, "cli"),
    reverse_path="a@r.test",
    forward_paths=("user@d1.test",),
)
DAEMON = {"USER": "mail", "PATH": "/bin", "HOME": "/root", "LANG": "C"}


def environment(raw_hello: str = "cli", **changes: Any) -> dict[str, str]:
    context = replace(CONTEXT, **changes)
    return contract_v1.post_data_environment(context, DAEMON, "/etc/relevo", raw_hello)


def test_exactly_thirteen_variables() -> None:
    assert environment() == {
        "USER": "mail",
        "SHELL": "",
        "PATH": "/bin",
        "PWD": "/etc/relevo",
        "REMOTE_ADDR": "192.0.2.7:4711",
        "EHLO_DOMAIN": "cli",
        "EHLO_DOMAIN_RAW": "cli",
        "MAIL_FROM": "a@r.test",
        "RCPT_TO": "user@d1.test",
        "AUTH_AS": "",
        "ON_TLS": "0",
        "FROM_LOCAL_DOMAIN": "0",
        "SPF_PASS": "0",
    }


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        pytest.param({"client": Client("::1", 25, "h")}, "REMOTE_ADDR", "[::1]:25", id="ipv6"),
        pytest.param({"reverse_path": "<>"}, "FROM_LOCAL_DOMAIN", "1", id="null-is-local"),
        pytest.param({"is_from_local_domain": True}, "FROM_LOCAL_DOMAIN", "1", id="local"),
        pytest.param({"tls": Tls("TLSv1.3", "x")}, "ON_TLS", "1", id="tls"),
        pytest.param({"auth": "u@d"}, "AUTH_AS", "u@d", id="auth"),
        pytest.param({"spf_result": "pass"}, "SPF_PASS", "1", id="spf-pass"),
        pytest.param({"spf_result": "softfail"}, "SPF_PASS", "0", id="spf-softfail"),
        pytest.param({"spf_result": "pass", "auth": "u@d"}, "SPF_PASS", "0", id="spf-of-a-user"),
        pytest.param(
            {"forward_paths": ("a@b", "c@d", "a@b")}, "RCPT_TO", "a@b c@d a@b", id="recipients"
        ),
        pytest.param(
            {"forward_paths": ("a b%@x", "c%d@x")}, "RCPT_TO", "a%20b%25@x c%d@x", id="blank"
        ),
        pytest.param({"forward_paths": ("a\nb@x",)}, "RCPT_TO", "a%0Ab@x", id="line-end"),
        pytest.param({"reverse_path": "a\0\x1bb@x"}, "MAIL_FROM", "ab@x", id="controls"),
    ],
)
def test_variable(changes: dict[str, Any], name: str, value: str) -> None:
    assert environment(**changes)[name] == value


def test_hello_name_sanitized_and_raw() -> None:
    found = environment("cli;e$(x).ex[1:2]_ñ\0")
    assert found["EHLO_DOMAIN"] == "cliex.ex[1:2]"
    assert found["EHLO_DOMAIN_RAW"] == "cli;e$(x).ex[1:2]_ñ"


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_recipients_can_always_be_told_apart(addresses: list[str]) -> None:
    words = environment(forward_paths=tuple(addresses))["RCPT_TO"].split(" ")
    assert len(words) == len(addresses)


@pytest.mark.parametrize(
    ("status", "output", "verdict"),
    [
        pytest.param(0, b"", Accept(), id="accept"),
        pytest.param(0, b"X: y\n", Accept(Changes(add=b"X: y\r\n")), id="header"),
        pytest.param(20, b"one\ntwo\n", Refuse(554, "5.7.1", "two"), id="permanent"),
        pytest.param(1, b"one\ntwo\n", Refuse(451, "4.7.1", "two"), id="temporary"),
        pytest.param(75, b"wait", Refuse(451, "4.7.1", "wait"), id="no-line-end"),
        pytest.param(20, b"a\n\n \n", Refuse(554, "5.7.1", "a"), id="blank-lines"),
        pytest.param(20, b"a\r\n", Refuse(554, "5.7.1", "a"), id="cr"),
        pytest.param(20, b"", Refuse(554, "5.7.1", "Message rejected by policy"), id="no-text"),
        pytest.param(
            3, b"\n", Refuse(451, "4.7.1", "Temporary policy failure, try again later"), id="blank"
        ),
        pytest.param(20, b"5.1.2 x", Refuse(554, "5.1.2", "x"), id="own-code"),
        pytest.param(20, b"4.1.2 x", Refuse(554, "5.7.1", "4.1.2 x"), id="code-of-other-class"),
        pytest.param(20, b"5.1.2", Refuse(554, "5.7.1", "5.1.2"), id="only-a-code"),
        pytest.param(20, b"a\x1bb\0c\xffd", Refuse(554, "5.7.1", "a bc\ufffdd"), id="controls"),
        pytest.param(20, b"x" * 9000, Refuse(554, "5.7.1", "x" * 400), id="long"),
    ],
)
def test_end_of_a_hook(status: int, output: bytes, verdict: object) -> None:
    assert contract_v1.post_data_verdict(status, output) == verdict


def test_bad_header_is_no_verdict() -> None:
    with pytest.raises(InvalidVerdict):
        contract_v1.post_data_verdict(0, b"hello\n")


@given(st.binary(max_size=2000), st.booleans())
def test_any_output_makes_a_reply(output: bytes, is_permanent: bool) -> None:
    refusal = contract_v1.refusal(output, is_permanent=is_permanent)
    assert refusal.is_permanent is is_permanent
    line = f"{refusal.code} {refusal.enhanced} {refusal.text}\r\n".encode()
    assert len(line) <= 512


@pytest.mark.parametrize(
    ("output", "text"),
    [
        pytest.param(b" a, b \n", "a, b", id="list"),
        pytest.param(b"a\nb\r\nc", "a,b,c", id="lines"),
        pytest.param(b"| cmd a\n b", "| cmd a\n b", id="pipe"),
        pytest.param(b"", "", id="nothing"),
    ],
)
def test_alias_output(output: bytes, text: str) -> None:
    assert contract_v1.alias_text(output) == text


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_stdin_has_no_cr_and_ends_in_lf(pieces: list[bytes]) -> None:
    whole = b"".join(contract_v1.lf_pieces(pieces))
    joined = b"".join(pieces).replace(b"\r", b"")
    assert whole == (joined if joined.endswith(b"\n") or not joined else joined + b"\n")
