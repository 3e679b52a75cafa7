"""Trace fields: what they say, and that no client can break them."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mail.header_block import check_header, count_received, field_values
from relevo.mail.trace import (
    ReceptionFacts,
    delivered_to_field,
    protocol_name,
    received_field,
    return_path_field,
    rfc5322_date,
    sanitized_hello,
)

ARRIVAL = 1795505971.25

PLAIN = ReceptionFacts(
    hello_name="cli",
    client_ip="127.0.0.1",
    is_authenticated=False,
    hostname="mx.test",
    protocol="ESMTP",
    tls_version="",
    tls_cipher="",
    mode="SMTP",
    reverse_path="a@pass.test",
    message_id="01JD0000000000000000000000",
    time=ARRIVAL,
)
SUBMITTED = replace(
    PLAIN,
    is_authenticated=True,
    protocol="SMTPSA",
    tls_version="TLSv1.3",
    tls_cipher="TLS_AES_128_GCM_SHA256",
    mode="submission+TLS",
    reverse_path="user@d1.test",
)


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.case("D13")
def test_received_of_a_plain_session() -> None:
    assert received_field(PLAIN).decode() == (
        "Received: from cli ([127.0.0.1])\r\n"
        "\tby mx.test (relevo) with ESMTP id 01JD0000000000000000000000\r\n"
        '\t(over SMTP, plain text!, envelope from "a@pass.test")\r\n'
        f"\t; {rfc5322_date(ARRIVAL)}\r\n"
    )


@pytest.mark.case("D14")
def test_received_of_a_submission_hides_the_client() -> None:
    field = received_field(SUBMITTED).decode()
    assert field == (
        "Received: from cli\r\n"
        "\tby mx.test (relevo) with SMTPSA id 01JD0000000000000000000000\r\n"
        "\ttls TLS_AES_128_GCM_SHA256\r\n"
        '\t(over submission+TLS, TLS-1.3, envelope from "user@d1.test")\r\n'
        f"\t; {rfc5322_date(ARRIVAL)}\r\n"
    )
    assert "127.0.0.1" not in field


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        pytest.param(replace(PLAIN, client_ip="::1"), "from cli ([IPv6:::1])\r\n", id="IPv6"),
        pytest.param(replace(PLAIN, reverse_path="<>"), 'envelope from "<>")', id="null"),
        pytest.param(replace(PLAIN, hello_name="c\r\nX: y"), "from cX:y (", id="line end"),
        pytest.param(replace(PLAIN, hello_name="ñ ;"), "from unknown (", id="nothing left"),
        pytest.param(replace(PLAIN, reverse_path='a"(@b'), r'from "a\"\(@b")', id="specials"),
        pytest.param(replace(PLAIN, reverse_path="a\x1b@b"), r'from "a\x1b@b")', id="control"),
        pytest.param(replace(PLAIN, reverse_path="ñ@b"), 'from "ñ@b")', id="UTF-8"),
    ],
)
def test_parts_of_received(facts: ReceptionFacts, part: str) -> None:
    assert part in received_field(facts).decode()


@given(st.text(max_size=40), st.text(max_size=40))
def test_client_cannot_break_the_field(hello_name: str, reverse_path: str) -> None:
    field = received_field(replace(PLAIN, hello_name=hello_name, reverse_path=reverse_path))
    assert check_header(field + b"\r\n") is None
    assert count_received(field) == 1
    assert len(field_values(field, "Received")) == 1
    assert field.count(b"\n") == field.count(b"\r\n") == field.count(b"\r") == 4
    assert not any(unicodedata.category(c) == "Cc" for c in field.decode() if c not in "\r\n\t")
    parsed = message_from_bytes(field + b"\r\n", policy=policy.default)
    assert parsed.keys() == ["Received"]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("mail.example.org", "mail.example.org"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("cli;e$(x).ex[1:2]_ñ", "cliex.ex[1:2]"),
        ("x" * 300, "x" * 255),
    ],
)
def test_hello_name_keeps_what_a_domain_may_have(name: str, clean: str) -> None:
    assert sanitized_hello(name) == clean


@pytest.mark.parametrize(
    ("name", "esmtp", "tls", "auth", "lmtp", "utf8"),
    [
        pytest.param("SMTP", False, False, False, False, False, id="HELO"),
        pytest.param("ESMTP", True, False, False, False, False, id="EHLO"),
        pytest.param("ESMTPS", True, True, False, False, False, id="TLS"),
        pytest.param("ESMTPA", True, False, True, False, False, id="AUTH"),
        pytest.param("ESMTPSA", True, True, True, False, False, id="TLS and AUTH"),
        pytest.param("SMTPSA", False, True, True, False, False, id="HELO, TLS and AUTH"),
        pytest.param("LMTP", True, False, False, True, False, id="LHLO"),
        pytest.param("LMTPSA", True, True, True, True, False, id="LHLO, TLS and AUTH"),
        pytest.param("UTF8SMTPSA", True, True, True, False, True, id="SMTPUTF8"),
        pytest.param("UTF8LMTP", True, False, False, True, True, id="SMTPUTF8 on LMTP"),
    ],
)
def test_protocol_names(
    name: str, *, esmtp: bool, tls: bool, auth: bool, lmtp: bool, utf8: bool
) -> None:
    shown = protocol_name(
        is_esmtp=esmtp, is_tls=tls, is_authenticated=auth, is_lmtp=lmtp, is_smtputf8=utf8
    )
    assert shown == name


@given(st.integers(0, 4_000_000_000))
def test_date_tells_the_second(seconds: int) -> None:
    assert parsedate_to_datetime(rfc5322_date(seconds + 0.999)).timestamp() == seconds


def test_date_has_the_local_zone(zone: str) -> None:
    # A second of its own for each zone: dates are cached by second.
    at = 1795505971 + 86400 * len(zone)
    date = rfc5322_date(at)
    assert parsedate_to_datetime(date).timestamp() == at
    assert date.endswith({"UTC": "+0000", "Asia/Kolkata": "+0530"}.get(zone, "-0330"))


def test_final_delivery_fields() -> None:
    assert return_path_field("a@b.test") == b"Return-Path: <a@b.test>\r\n"
    assert return_path_field("") == return_path_field("<>") == b"Return-Path: <>\r\n"
    assert delivered_to_field("user@ñ.test") == "Delivered-To: user@ñ.test\r\n".encode()
    assert return_path_field("a\r\nX: y@b") == b"Return-Path: <a??X: y@b>\r\n"
    assert delivered_to_field("a\nb@c") == b"Delivered-To: a?b@c\r\n"
