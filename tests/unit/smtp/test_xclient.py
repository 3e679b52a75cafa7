"""XCLIENT: what a listed peer may say about its client, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.smtp.events import Violation, XClient
from relevo.smtp.replies import Fixed
from relevo.smtp.states import State
from relevo.smtp.xclient import parse_xclient
from unit.smtp.driver import SETTINGS, TO_RCPT, Driver, refusing

LISTED = replace(SETTINGS, offers_xclient=True, max_errors=9)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"ADDR=192.0.2.9", XClient("192.0.2.9", None)),
        (b"addr=192.0.2.9 port=4711", XClient("192.0.2.9", 4711)),
        (b"ADDR=IPV6:2001:DB8::9 PORT=0", XClient("2001:db8::9", 0)),
        (b"ADDR=ipv6:::ffff:192.0.2.9", XClient("192.0.2.9", None)),
        (b"ADDR=192.0.2.9 PORT=[UNAVAILABLE]", XClient("192.0.2.9", 0)),
        (b"PORT=25", XClient(None, 25)),
        (b"NAME=c.test  HELO=a+2Bb PROTO=esmtp", XClient(None, None)),
        (b"NAME=[TEMPUNAVAIL] ADDR=+31.2.3.4", XClient("1.2.3.4", None)),
    ],
)
def test_attributes(argument: bytes, expected: XClient) -> None:
    assert parse_xclient(argument) == expected


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"ADDR",
        b"ADDR=",
        b"=1.2.3.4",
        b"ADDR=1.2.3.4 ADDR=1.2.3.5",
        b"ADDR=1.2.3.4 LOGIN=user@d1.test",
        b"ADDR=1.2.3.4 DESTADDR=1.2.3.5",
        b"ADDR=1.2.3.4 PORT=65536",
        b"ADDR=1.2.3.4 PORT=-1",
        b"ADDR=1.2.3.4 PORT=2+A5",
        b"ADDR=1.2.3.4 PROTO=HTTP",
        b"ADDR=1.2.3.4 NAME=+zz",
        b"ADDR=1.2.3.4 NAME=\xff",
    ],
)
def test_malformed_attributes(argument: bytes) -> None:
    assert parse_xclient(argument) is Fixed.XCLIENT_MALFORMED


@pytest.mark.parametrize(
    "text",
    ["[UNAVAILABLE]", "[TEMPUNAVAIL]", "1.2.3", "::1", "IPV6:1.2.3.4", "IPV6:fe80::1%25eth0", "x"],
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    assert parse_xclient(f"ADDR={text}".encode()) is Fixed.XCLIENT_ADDRESS_MALFORMED


@given(st.binary(max_size=80), st.sampled_from([b"", b"ADDR=", b"PORT=", b"ADDR=IPV6:"]))
def test_no_octets_raise(octets: bytes, start: bytes) -> None:
    assert parse_xclient(start + octets) is not None


def test_the_session_starts_anew() -> None:
    driver = Driver(LISTED)
    driver.feed(b"EHLO proxy\r\nFOO\r\n")
    assert b"250-XCLIENT NAME ADDR PORT PROTO HELO\r\n" in driver.output
    assert driver.feed(b"XCLIENT ADDR=1.2.3.4 PORT=5\r\n") == [220]
    assert driver.output.endswith(b"220 mx.test ESMTP relevo\r\n")
    session = driver.session
    assert (session.state, session.hello_name, session.is_esmtp) == (State.GREETED, "", False)
    assert session.errors == 0
    assert driver.feed(b"MAIL FROM:<a@b.test>\r\n" + TO_RCPT) == [503, 250, 250, 250]


def test_it_may_come_before_ehlo_and_again() -> None:
    driver = Driver(LISTED)
    assert driver.feed(b"XCLIENT ADDR=1.2.3.4\r\nXCLIENT PORT=5\r\nHELO c\r\n") == [220, 220, 250]


def test_a_refusal_leaves_the_session_as_it_was() -> None:
    driver = Driver(LISTED, answer=refusing(XClient, 421))
    assert driver.feed(b"EHLO proxy\r\nXCLIENT ADDR=1.2.3.4\r\n") == [250, 421]
    assert driver.session.state is State.READY


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(TO_RCPT, id="recipient"),
        pytest.param(TO_RCPT + b"BDAT 1\r\nx", id="between chunks"),
    ],
)
def test_not_inside_a_transaction(before: bytes) -> None:
    driver = Driver(LISTED)
    assert driver.feed(before + b"XCLIENT ADDR=1.2.3.4\r\n")[-1] == 503


def test_not_after_a_login() -> None:
    driver = Driver(LISTED, is_tls=True)
    codes = driver.feed(b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\nXCLIENT ADDR=1.2.3.4\r\n")
    assert codes == [250, 235, 503]
    assert driver.session.is_authenticated


def test_others_do_not_have_the_command() -> None:
    driver = Driver()
    assert driver.feed(b"EHLO c\r\nXCLIENT ADDR=1.2.3.4\r\n") == [250, 500]
    assert b"XCLIENT" not in driver.output
    assert driver.violations == [Violation("XCLIENT", 500, "5.5.1", "Command unknown")]
