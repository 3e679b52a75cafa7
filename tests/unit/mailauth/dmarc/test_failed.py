"""Failure reports: who wants one, and how little of the message they show."""

from __future__ import annotations

import pytest

from relevo.mailauth import SpfIdentity, SpfOutcome, SpfResult
from relevo.mailauth.dkim import DkimOutcome, DkimResult
from relevo.mailauth.dmarc import DmarcOutcome, DmarcResult, parse_record
from relevo.mailauth.dmarc.failed import MAX_FIELD, shown_fields, wants_report

HEAD = b"From: a@b.test\r\nTo: c@d.test\r\nSubject: x\r\n"
PASS, FAIL = DkimResult(DkimOutcome.PASS, domain="b.test"), DkimResult(DkimOutcome.FAIL)


def spf(outcome: SpfOutcome) -> SpfResult:
    return SpfResult(outcome, "", SpfIdentity.MAIL_FROM, "b.test")


def result(text: str, *, has_spf: bool = False, has_dkim: bool = False) -> DmarcResult:
    return DmarcResult(
        DmarcOutcome.PASS if has_spf or has_dkim else DmarcOutcome.FAIL,
        "b.test",
        spf_domain="b.test" if has_spf else "",
        dkim_domains=("b.test",) if has_dkim else (),
        record=parse_record(f"v=DMARC1; p=none; {text}".encode()),
    )


@pytest.mark.parametrize(
    ("options", "has_spf", "has_dkim", "is_wanted"),
    [
        ("", False, False, True),
        ("", True, False, False),
        ("fo=0", False, True, False),
        ("fo=1", True, False, True),
        ("fo=1", True, True, False),
        ("fo=d", False, True, False),
        ("fo=d", True, False, True),
        ("fo=s", False, True, True),
        ("fo=s", True, False, False),
        ("fo=0:d:s", True, False, True),
        ("fo=x", False, False, False),
    ],
)
def test_the_options_say_which_failures_are_told(
    options: str, has_spf: bool, has_dkim: bool, is_wanted: bool
) -> None:
    found = result(f"ruf=mailto:r@b.test; {options}", has_spf=has_spf, has_dkim=has_dkim)
    checked = spf(SpfOutcome.PASS if has_spf else SpfOutcome.FAIL)
    assert wants_report(found, checked, [PASS if has_dkim else FAIL], HEAD) is is_wanted


def test_who_names_no_address_gets_none() -> None:
    assert not wants_report(result("rua=mailto:r@b.test"), None, [], HEAD)
    assert not wants_report(result("ruf=https://b.test/r"), None, [], HEAD)


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Type: multipart/report; report-type=feedback-report\r\n",
        b"Subject: Report Domain: b.test Submitter: a.test\r\n",
    ],
)
def test_reports_are_not_reported(field: bytes) -> None:
    assert not wants_report(result("ruf=mailto:r@b.test"), None, [], HEAD + field)


def test_nothing_of_recipients_and_subject_is_shown() -> None:
    head = (
        b"Received: from secret\r\nfrom:\r\n A <a@b.test>\r\nTo: c@d.test\r\nCc: e@d.test\r\n"
        b"Subject: x\r\nMessage-ID: <1@b.test>\r\nX-Token: secret\r\n"
        b"DKIM-Signature: v=1;\r\n\td=b.test\r\nDate: \xff\r\nSender: "
        + b"x" * (MAX_FIELD + 1)
        + b"\r\n"
    )
    assert shown_fields(head) == (
        b"From: A <a@b.test>\r\nDate: ?\r\nMessage-ID: <1@b.test>\r\n"
        b"DKIM-Signature: v=1; d=b.test\r\n"
    )
