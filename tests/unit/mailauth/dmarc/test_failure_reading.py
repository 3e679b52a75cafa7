"""Failure reports of others: read when they are such, refused when they are broken."""

from __future__ import annotations

from email import message_from_bytes

import pytest

from relevo.mailauth.dmarc.failure_reading import FailureReport, arrived, read_failure_report
from relevo.mailauth.dmarc.report_reading import BadReport

REPORT = b"""From: reports@a.test
Message-ID: <r1@a.test>
Date: Wed, 25 Nov 2026 04:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

words
--b
Content-Type: message/feedback-report

Feedback-Type: auth-failure
Version: 1
Auth-Failure: dmarc
Authentication-Results: mx.a.test;
 dmarc=fail header.from=b.test
Reported-Domain: B.test
Source-IP: 192.0.2.1
Arrival-Date: Wed, 25 Nov 2026 03:59:58 +0000

--b
Content-Type: message/rfc822

From: x@b.test
Subject: =?utf-8?q?=C3=A9?=

body
--b--
"""


def read(text: bytes) -> FailureReport | None:
    return read_failure_report(message_from_bytes(text))


def test_a_report_with_the_whole_message_is_read() -> None:
    report = read(REPORT)
    assert report is not None
    assert (report.domain, report.source_ip, report.report_id) == (
        "b.test",
        "192.0.2.1",
        "<r1@a.test>",
    )
    assert report.results == "mx.a.test; dmarc=fail header.from=b.test"
    assert f"{arrived(report):%H:%M:%S}" == "03:59:58"
    assert report.header == "From: x@b.test\nSubject: =?utf-8?q?=C3=A9?="


def test_other_mail_is_none() -> None:
    assert read(b"From: a@b.test\n\nfeedback-report\n") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"auth-failure", b"abuse"),
        (b"Reported-Domain: B.test\n", b""),
        (b"Wed, 25 Nov 2026 03:59:58 +0000", b"yesterday"),
        (b"Wed, 25 Nov 2026 03:59:58 +0000", b"Wed, 25 Nov 99999999 03:59:58 +0000"),
    ],
)
def test_what_says_too_little_is_refused(old: bytes, new: bytes) -> None:
    assert old in REPORT
    with pytest.raises(BadReport):
        read(REPORT.replace(old, new))


def test_controls_are_not_kept() -> None:
    report = read(REPORT.replace(b"192.0.2.1", b"\x1b[2Jx\xff").replace(b"x@b.test", b"\x1b@b"))
    assert report is not None
    assert report.source_ip.isprintable()
    assert all(line.isprintable() for line in report.header.split("\n"))
