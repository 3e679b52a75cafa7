"""Parameters of MAIL and RCPT."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relevo.smtp.events import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    BodyType,
    MailParameters,
    Notify,
    RcptParameters,
    Ret,
)
from relevo.smtp.parameters import parse_mail_parameters, parse_rcpt_parameters
from relevo.smtp.replies import Fixed
from unit.smtp.driver import SETTINGS

BINARY = replace(SETTINGS, offers_binarymime=True)
NO_DSN = replace(SETTINGS, offers_dsn=False)
MALFORMED, UNKNOWN = Fixed.PARAMETER_MALFORMED, Fixed.PARAMETER_UNKNOWN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NO_MAIL_PARAMETERS),
        ("  ", NO_MAIL_PARAMETERS),
        (" SIZE=1000", MailParameters(size=1000)),
        (" size=0  body=8bitmime ", MailParameters(size=0, body=BodyType.EIGHT_BIT_MIME)),
        (" BODY=7BIT SMTPUTF8", MailParameters(body=BodyType.SEVEN_BIT, smtputf8=True)),
        (" RET=HDRS ENVID=a+2Bb", MailParameters(ret=Ret.HEADERS, envid="a+b")),
        (" RET=full", MailParameters(ret=Ret.FULL)),
        (" AUTH=<>", MailParameters(auth="<>")),
        (" AUTH=a+3Db@c.test", MailParameters(auth="a=b@c.test")),
        (" SIZE=1001", Fixed.SIZE_TOO_LARGE),
        (" SIZE", MALFORMED),
        (" SIZE=", MALFORMED),
        (" SIZE=x", MALFORMED),
        (" SIZE=-1", MALFORMED),
        (" SIZE=" + "1" * 21, MALFORMED),
        (" SIZE=1 SIZE=1", MALFORMED),
        (" BODY=8BIT", MALFORMED),
        (" BODY", MALFORMED),
        (" BODY=BINARYMIME", MALFORMED),
        (" SMTPUTF8=1", MALFORMED),
        (" RET=ALL", MALFORMED),
        (" RET", MALFORMED),
        (" ENVID=", MALFORMED),
        (" ENVID=a+2", MALFORMED),
        (" ENVID=a+0A", MALFORMED),
        (" ENVID=+FF", MALFORMED),
        (" ENVID=" + "a" * 101, MALFORMED),
        (" AUTH=nobody", MALFORMED),
        (" AUTH=a@b/c", MALFORMED),
        (" AUTH=" + "a" * 251 + "@b.test", MALFORMED),
        (" AUTH", MALFORMED),
        (" =x", MALFORMED),
        (" X\u00a0Y", MALFORMED),
        (" SIZE=1=2", MALFORMED),
        (" FOO", UNKNOWN),
        (" FOO=bar", UNKNOWN),
        (" NOTIFY=NEVER", UNKNOWN),
        (" SIZE=1 junk", UNKNOWN),
    ],
)
def test_mail(text: str, expected: MailParameters | Fixed) -> None:
    assert parse_mail_parameters(text, SETTINGS) == expected


def test_binarymime_only_where_offered() -> None:
    binary = MailParameters(body=BodyType.BINARY_MIME)
    assert parse_mail_parameters(" BODY=BINARYMIME", BINARY) == binary
    no_bdat = replace(BINARY, offers_chunking=False)
    assert parse_mail_parameters(" BODY=BINARYMIME", no_bdat) is MALFORMED


def test_requiretls_only_where_offered() -> None:
    offering = replace(SETTINGS, offers_requiretls=True)
    assert parse_mail_parameters(" REQUIRETLS", offering) == MailParameters(requiretls=True)
    assert parse_mail_parameters(" REQUIRETLS=x", offering) is MALFORMED
    assert parse_mail_parameters(" REQUIRETLS", SETTINGS) is UNKNOWN


def test_any_size_where_there_is_no_limit() -> None:
    parsed = parse_mail_parameters(" SIZE=99999999", replace(SETTINGS, max_size=0))
    assert parsed == MailParameters(size=99999999)


@pytest.mark.parametrize("text", [" RET=FULL", " ENVID=x"])
def test_dsn_parameters_of_mail_only_where_offered(text: str) -> None:
    assert parse_mail_parameters(text, NO_DSN) is UNKNOWN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NO_RCPT_PARAMETERS),
        (" NOTIFY=NEVER", RcptParameters(notify=frozenset({Notify.NEVER}))),
        (
            " notify=success,Failure,DELAY",
            RcptParameters(notify=frozenset({Notify.SUCCESS, Notify.FAILURE, Notify.DELAY})),
        ),
        (" ORCPT=rfc822;a+2Bb@c.test", RcptParameters(orcpt="rfc822;a+b@c.test")),
        (" ORCPT=RFC822;a", RcptParameters(orcpt="rfc822;a")),
        (" ORCPT=utf-8;\\x{F1}@c.test", RcptParameters(orcpt="utf-8;ñ@c.test")),
        (" ORCPT=utf-8;ñ@c.test", RcptParameters(orcpt="utf-8;ñ@c.test")),
        (" NOTIFY=NEVER,DELAY", MALFORMED),
        (" NOTIFY=DELAY,DELAY", MALFORMED),
        (" NOTIFY=", MALFORMED),
        (" NOTIFY=MAYBE", MALFORMED),
        (" NOTIFY", MALFORMED),
        (" ORCPT=a@b", MALFORMED),
        (" ORCPT=rfc822;", MALFORMED),
        (" ORCPT=;a", MALFORMED),
        (" ORCPT=rfc822;a+0D", MALFORMED),
        (" ORCPT=rfc822;ñ", MALFORMED),
        (" ORCPT=rfc822;+09", MALFORMED),
        (" ORCPT=utf-8;\\x{0A}", MALFORMED),
        (" ORCPT=utf-8;\\x{D800}", MALFORMED),
        (" ORCPT=utf-8;\\x{FFFFFF}", MALFORMED),
        (" ORCPT=utf-8;\\x", MALFORMED),
        (" ORCPT=rfc822;" + "a" * 494, MALFORMED),
        (" ORCPT", MALFORMED),
        (" ORCPT=rfc822;a ORCPT=rfc822;a", MALFORMED),
        (" SIZE=1", UNKNOWN),
    ],
)
def test_rcpt(text: str, expected: RcptParameters | Fixed) -> None:
    assert parse_rcpt_parameters(text, SETTINGS) == expected


@pytest.mark.parametrize("text", [" NOTIFY=NEVER", " ORCPT=rfc822;a"])
def test_dsn_parameters_of_rcpt_only_where_offered(text: str) -> None:
    assert parse_rcpt_parameters(text, NO_DSN) is UNKNOWN
