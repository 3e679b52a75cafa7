"""Failure reports as mail: their form, where they go, and how few there are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest

from relevo.mailauth import SpfIdentity, SpfOutcome, SpfResult
from relevo.mailauth.dkim import DkimOutcome, DkimResult
from relevo.mailauth.dmarc import Policy
from relevo.mailauth.dmarc.failed import FailedMessage
from relevo.mailauth.dmarc.failure_reading import read_failure_report
from relevo.outbound import failure_reporting
from relevo.outbound.daily_reports import Reporter
from relevo.outbound.dmarc_report_sending import DmarcReportMeans
from relevo.outbound.dmarc_reports import DmarcFiles
from relevo.outbound.failure_report_text import failure_report
from relevo.outbound.failure_reporting import FailureReports
from relevo.queue.ids import new_id
from unit.delivery.fake_store import FakeStore
from unit.mailauth.spf.zones import Zones

NOW = 1_800_000_000.0
REPORTER = Reporter("a.test", "a.test", "postmaster@a.test")
FAILED = FailedMessage(
    author_domain="m.b.test",
    policy_domain="b.test",
    time=NOW - 1,
    source_ip="2001:db8::1",
    sender_domain="c.test",
    handling=Policy.REJECT,
    has_aligned_spf=True,
    has_aligned_dkim=False,
    signatures=(DkimResult(DkimOutcome.FAIL, "x", "d.test", "one", "someone@d.test"),),
    spf=SpfResult(SpfOutcome.PASS, "", SpfIdentity.MAIL_FROM, "b.test"),
    results="mx.a.test ;spf=pass ;dmarc=fail",
    fields=b"From: x@m.b.test\r\nMessage-ID: <1@m.b.test>\r\n",
)


def test_what_is_written_is_read_again() -> None:
    made = datetime.fromtimestamp(NOW, UTC)
    text = failure_report(FAILED, "r@b.test", REPORTER, identity="id", now=made)
    assert all(len(line) <= 998 for line in text.split(b"\r\n"))
    assert b"\n" not in text.replace(b"\r\n", b"")
    report = read_failure_report(message_from_bytes(text))
    assert report is not None
    assert (report.organization, report.contact) == ("a.test", "<postmaster@a.test>")
    assert (report.domain, report.source_ip) == ("m.b.test", "2001:db8::1")
    assert (report.begin, report.sender) == (int(NOW) - 1, "redacted@c.test")
    assert (report.delivery, report.alignment) == ("reject", "spf")
    assert report.results == FAILED.results
    assert report.header == "From: x@m.b.test\nMessage-ID: <1@m.b.test>"
    assert b"someone" not in text


def test_long_results_are_cut_into_lines() -> None:
    failed = replace(FAILED, results="mx " + "dkim=fail " * 400)
    text = failure_report(failed, "r@b.test", REPORTER, identity="id", now=datetime.now(UTC))
    assert all(len(line) <= 998 for line in text.split(b"\r\n"))


def sent(tmp_path: Path, records: dict[str, str], count: int = 1, most: int = 10) -> list[str]:
    """To whom that many reports went."""
    store = FakeStore()
    names = Zones({f"TXT {name}": [text] for name, text in records.items()})
    means = DmarcReportMeans(
        DmarcFiles(tmp_path), lambda: names, store, new_id, lambda domain: f"mx:{domain}"
    )

    async def run() -> None:
        reports = FailureReports(clock=lambda: NOW)
        for _ in range(count):
            if reports.has_room("b.test", most):
                await reports.start(FAILED, means, REPORTER)

    asyncio.run(run())
    assert all(row.unit.envelope.reverse_path == "" for row in store.rows.values())
    return [row.unit.recipients[0].target for row in store.rows.values()]


RUF = {"_dmarc.b.test": "v=DMARC1; p=none; rua=mailto:day@b.test; ruf=mailto:r@b.test"}
ABROAD = {"_dmarc.b.test": "v=DMARC1; p=none; ruf=mailto:r@else.test"}


def test_they_go_to_the_addresses_for_failures(tmp_path: Path) -> None:
    assert sent(tmp_path, RUF) == ["r@b.test"]


def test_another_organization_must_want_them(tmp_path: Path) -> None:
    consent = {"b.test._report._dmarc.else.test": "v=DMARC1"}
    assert sent(tmp_path, ABROAD) == []
    assert sent(tmp_path, ABROAD | consent) == ["r@else.test"]
    instead = {"b.test._report._dmarc.else.test": "v=DMARC1; ruf=mailto:other@else.test"}
    assert sent(tmp_path, ABROAD | instead) == ["other@else.test"]


def test_who_wants_none_any_more_gets_none(tmp_path: Path) -> None:
    assert sent(tmp_path, {"_dmarc.b.test": "v=DMARC1; p=none"}) == []
    assert sent(tmp_path, {}) == []


def test_a_domain_gets_few_an_hour(tmp_path: Path) -> None:
    assert len(sent(tmp_path, RUF, count=5, most=3)) == 3


def test_all_domains_together_get_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_reporting, "MAX_AN_HOUR", 2)
    assert len(sent(tmp_path, RUF, count=5)) == 2


def test_after_an_hour_there_is_room_again() -> None:
    now = NOW
    reports = FailureReports(clock=lambda: now)
    reports._sent["b.test"] = 3
    reports._hour = int(now // 3600)
    assert not reports.has_room("b.test", 3)
    now += 3600
    assert reports.has_room("b.test", 3)
