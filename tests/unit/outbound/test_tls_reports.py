"""TLS reports: counted, kept by day over restarts, and sent to the domains that ask for them."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from email import message_from_bytes, policy
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from harness.authority import Authority
from relevo.delivery.link_values import PLAIN, TlsFacts
from relevo.dns import TlsaRecord
from relevo.mailauth.dkim.private_key import KeyKind, SigningKey, make_private_key
from relevo.outbound import tls_reports
from relevo.outbound.daily_reports import DAY_S, Reporter
from relevo.outbound.mta_sts import Mode, StsPolicy
from relevo.outbound.mta_sts_files import KeptPolicy
from relevo.outbound.mta_sts_lookup import FetchSettings, FoundPolicy, StsFailure
from relevo.outbound.peer import PeerStep, PeerUnusable
from relevo.outbound.tls_contexts import TlsContexts
from relevo.outbound.tls_policy import DomainTls, HostRefused
from relevo.outbound.tls_report_sending import ReportMeans, send_reports
from relevo.outbound.tls_report_text import (
    MailAddress,
    WebAddress,
    read_addresses,
    report_json,
    report_mail,
)
from relevo.outbound.tls_reports import FailureKey, PolicyKey, ReportFiles, TlsReports
from relevo.queue.ids import new_id
from unit.delivery.fake_store import FakeStore
from unit.delivery.loops import Runner
from unit.outbound.fake_dns import FakeDns
from unit.outbound.web_server import WebServer, http, serving

DAY = 20_000
NOW = DAY * DAY_S + 3600.0
HOST, ADDRESS = "mx.b.test", "192.0.2.1"
VERIFIED = TlsFacts("TLS-1.3", "c", "webpki")
EXPIRED = TlsFacts("TLS-1.3", "c", problem="expired", tls_result="certificate-expired")
NO_STARTTLS = TlsFacts(tls_result="starttls-not-supported")
REPORTER = Reporter("a.test", "a.test", "postmaster@a.test")
TESTING = KeptPolicy(StsPolicy(Mode.TESTING, 1000, (HOST,), ("version: STSv1",)), "1", 0.0)


def counted(
    *outcomes: TlsFacts | PeerUnusable | HostRefused, domain: DomainTls | None = None
) -> dict[PolicyKey, tuple[int, dict[FailureKey, int]]]:
    reports = TlsReports(clock=lambda: NOW)
    for outcome in outcomes:
        reports.add(domain or DomainTls("b.test"), HOST, ADDRESS, outcome)
    days = reports.take_changed()
    assert list(days) in ([DAY], [])
    return {
        key: (tally.successes, dict(tally.failures)) for key, tally in days.get(DAY, {}).items()
    }


def test_without_a_policy_any_tls_is_a_success() -> None:
    counts = counted(VERIFIED, EXPIRED, NO_STARTTLS, PLAIN)
    assert counts == {
        PolicyKey("b.test", "no-policy-found"): (
            2, {FailureKey("starttls-not-supported", HOST, ADDRESS): 1},
        )
    }  # fmt: skip


def test_with_a_policy_only_what_is_verified() -> None:
    counts = counted(
        VERIFIED, EXPIRED, EXPIRED, domain=DomainTls("b.test", found=FoundPolicy(TESTING))
    )
    key = PolicyKey("b.test", "sts", ("version: STSv1",), (HOST,))
    assert counts == {key: (1, {FailureKey("certificate-expired", HOST, ADDRESS): 2})}


def test_dane() -> None:
    domain = DomainTls("b.test", tlsa={HOST: (TlsaRecord(3, 1, 1, b"\xab"),)})
    wrong = PeerUnusable(PeerStep.TLS, "x", tls_result="validation-failure")
    key = PolicyKey("b.test", "tlsa", ("3 1 1 ab",), (HOST,))
    counts = counted(TlsFacts("TLS-1.3", "c", "dane"), wrong, domain=domain)
    assert counts == {key: (1, {FailureKey("validation-failure", HOST, ADDRESS): 1})}


def test_what_fails_for_other_reasons_is_not_counted() -> None:
    assert counted(PeerUnusable(PeerStep.CONNECT, "x")) == {}
    assert counted(HostRefused("REQUIRETLS")) == {}


def test_a_policy_that_cannot_be_had() -> None:
    failure = StsFailure("sts-webpki-invalid", "x")
    counts = counted(VERIFIED, domain=DomainTls("b.test", found=FoundPolicy(None, failure)))
    ((successes, failures),) = counts.values()
    assert (successes, failures) == (1, {FailureKey("sts-webpki-invalid", "", ""): 1})


def test_counting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_reports, "MAX_DOMAINS", 2)
    monkeypatch.setattr(tls_reports, "MAX_FAILURES", 3)
    reports = TlsReports(clock=lambda: NOW)
    for number in range(5):
        reports.add(DomainTls(f"d{number}.test"), HOST, ADDRESS, VERIFIED)
        reports.add(DomainTls("d0.test"), HOST, str(number), NO_STARTTLS)
    day = reports.take_changed()[DAY]
    assert len(day) == 2
    assert sum(len(tally.failures) for tally in day.values()) == 3


def test_days_are_kept_and_put_together(tmp_path: Path) -> None:
    clock = [NOW]
    for worker in ("0", "1"):
        reports, files = TlsReports(clock=lambda: clock[0]), ReportFiles(tmp_path, worker)
        for _ in range(3):
            reports.add(DomainTls("b.test"), HOST, ADDRESS, VERIFIED)
            reports.add(DomainTls("b.test"), HOST, ADDRESS, NO_STARTTLS)
            files.save(reports.take_changed())
    files = ReportFiles(tmp_path)
    assert files.days() == [DAY]
    ((key, tally),) = files.load(DAY).items()
    assert (key, tally.successes) == (PolicyKey("b.test", "no-policy-found"), 6)
    assert tally.failures == {FailureKey("starttls-not-supported", HOST, ADDRESS): 6}
    for path in (tmp_path / "tls-reports").iterdir():
        path.write_text("[{}]")
    assert files.load(DAY) == {}
    files.forget(DAY)
    assert files.days() == []


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([b"v=TLSRPTv1; rua=mailto:r@b.test"], [MailAddress("r@b.test")]),
        (
            [b"v=TLSRPTv1;rua=https://R.b.test/v1/x?y=z , mailto:r@b.test,mailto:s@b.test;"],
            [WebAddress("r.b.test", 443, "/v1/x?y=z"), MailAddress("r@b.test")],
        ),
        ([b"v=TLSRPTv1; rua=https://b.test:8443"], [WebAddress("b.test", 8443, "/")]),
        ([b"v=TLSRPTv1; rua=https://b.test:0/"], []),
        ([b"v=TLSRPTv1; rua=http://b.test/"], []),
        ([b"v=TLSRPTv1; rua=https://u@b.test/"], []),
        ([b"v=TLSRPTv1; rua=mailto:a b@c.test"], []),
        ([b"v=TLSRPTv1; rua=mailto:a@c.test?subject=x"], []),
        ([b"v=TLSRPTv2; rua=mailto:a@c.test"], []),
        ([b"v=TLSRPTv1; rua=mailto:a@c.test"] * 2, []),
        ([], []),
    ],
)
def test_who_wants_reports(records: list[bytes], expected: list[object]) -> None:
    assert read_addresses(records) == expected


def day_of(*outcomes: TlsFacts) -> Any:
    reports = TlsReports(clock=lambda: NOW)
    for outcome in outcomes:
        reports.add(DomainTls("b.test", found=FoundPolicy(TESTING)), HOST, ADDRESS, outcome)
        reports.add(DomainTls("c.test"), HOST, ADDRESS, outcome)
    return reports.take_changed()


def test_a_report() -> None:
    packed = report_json(DAY, "b.test", day_of(VERIFIED, EXPIRED)[DAY], REPORTER)
    report = json.loads(gzip.decompress(packed))
    assert report == {
        "organization-name": "a.test",
        "date-range": {
            "start-datetime": "2024-10-04T00:00:00Z",
            "end-datetime": "2024-10-04T23:59:59Z",
        },
        "contact-info": "postmaster@a.test",
        "report-id": "2024-10-04-b.test@a.test",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-domain": "b.test",
                    "policy-string": ["version: STSv1"],
                    "mx-host": [HOST],
                },
                "summary": {
                    "total-successful-session-count": 1,
                    "total-failure-session-count": 1,
                },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "receiving-mx-hostname": HOST,
                        "receiving-ip": ADDRESS,
                        "failed-session-count": 1,
                    }
                ],
            }
        ],
    }


def test_the_mail_that_carries_it() -> None:
    packed = report_json(DAY, "b.test", day_of(VERIFIED)[DAY], REPORTER)
    made = datetime(2024, 10, 5, 1, 2, 3, tzinfo=UTC)
    octets = report_mail(DAY, "b.test", "r@b.test", packed, REPORTER, now=made)
    assert octets.count(b"\n") == octets.count(b"\r\n")
    message = message_from_bytes(octets, policy=policy.SMTP)
    assert message["TLS-Report-Domain"] == "b.test"
    assert message["To"] == "r@b.test"
    assert message.get_content_type() == "multipart/report"
    _, attached = message.iter_parts()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == "a.test!b.test!1728000000!1728086399!001.json.gz"
    assert attached.get_payload(decode=True) == packed


def test_reports_of_past_days_are_sent_once(
    run: Runner, authority: Authority, ca_file: str, tmp_path: Path
) -> None:
    web = WebServer(authority.issue("r.c.test").server_context(tmp_path / "web"), http(b"ok"))
    files = ReportFiles(tmp_path)
    files.save(day_of(VERIFIED))
    store = FakeStore()
    contexts = TlsContexts(ca_file)

    async def check() -> tuple[int, int, int]:
        async with serving(web):
            dns = FakeDns(
                {
                    ("txt", "_smtp._tls.b.test"): (b"v=TLSRPTv1; rua=mailto:r@D.test",),
                    ("txt", "_smtp._tls.c.test"): (
                        b"v=TLSRPTv1; rua=https://r.c.test:%d/x" % web.port,
                    ),
                    ("a", "r.c.test"): (ip_address("127.0.0.1"),),
                }
            )
            fetching = FetchSettings(lambda: contexts.verifying, lambda _: True)
            key = SigningKey("a.test", "s", make_private_key(KeyKind.ED25519))
            means = ReportMeans(
                files, lambda: dns, fetching, store, new_id, lambda domain: f"mx:{domain}", (key,)
            )
            today = await send_reports(means, REPORTER, NOW)
            tomorrow = await send_reports(means, REPORTER, NOW + DAY_S)
            again = await send_reports(means, REPORTER, NOW + DAY_S)
            return today, tomorrow, again

    assert run(check()) == (0, 2, 0)
    ((row),) = store.rows.values()
    assert (row.unit.route, row.unit.envelope.reverse_path) == ("mx:d.test", "")
    assert row.unit.recipients[0].target == "r@D.test"
    signature = row.unit.content.first(80)
    assert signature.startswith(b"DKIM-Signature: v=1; ")
    assert b" d=a.test;" in signature
    (request,) = web.requests
    assert request.startswith(b"POST /x HTTP/1.1\r\n")
    assert b"Content-Type: application/tlsrpt+gzip\r\n" in request
    body = request.partition(b"\r\n\r\n")[2]
    assert json.loads(gzip.decompress(body))["policies"][0]["policy"]["policy-domain"] == "c.test"
    assert files.days() == []
