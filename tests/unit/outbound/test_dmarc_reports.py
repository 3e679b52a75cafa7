"""DMARC reports: counted, kept by day over restarts, and sent to the domains that ask for them."""

from __future__ import annotations

import asyncio
import gzip
import time
from email import message_from_bytes, policy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from relevo.mailauth import SpfIdentity, SpfOutcome, SpfResult
from relevo.mailauth.dkim import DkimOutcome, DkimResult, SigningKey
from relevo.mailauth.dkim.private_key import KeyKind, make_private_key
from relevo.mailauth.dmarc import DmarcOutcome, DmarcResult, Policy, parse_record
from relevo.mailauth.dmarc.judged import JudgedMessage, PublishedPolicy, is_report, judged_message
from relevo.outbound import dmarc_reports
from relevo.outbound.daily_reports import DAY_S, Reporter
from relevo.outbound.dmarc_report_sending import (
    DmarcReportMeans,
    send_dmarc_reports,
    wanted_addresses,
)
from relevo.outbound.dmarc_report_text import NAMESPACE, report_xml
from relevo.outbound.dmarc_reports import DmarcCounts, DmarcDay, DmarcFiles
from relevo.queue.ids import new_id
from unit.delivery.fake_store import FakeStore
from unit.mailauth.spf.zones import Zones

DAY = 20_000
NOW = DAY * DAY_S + 3600.0
REPORTER = Reporter("a.test", "a.test", "postmaster@a.test")
PUBLISHED = PublishedPolicy("b.test", "reject", "", "none", "r", "s", "n", "0")
MESSAGE = JudgedMessage(
    PUBLISHED, "192.0.2.1", "quarantine", "fail", "pass", "local_policy", "m.b.test", "c.test",
    "c.test", "pass", (("d.test", "one", "fail"),),
)  # fmt: skip
RECORD = "v=DMARC1; p=reject; rua=mailto:r@b.test"


def result(outcome: DmarcOutcome = DmarcOutcome.FAIL, record: str = RECORD) -> DmarcResult:
    is_fail = outcome is DmarcOutcome.FAIL
    return DmarcResult(
        outcome,
        "m.b.test",
        policy_domain="b.test",
        policy=Policy.REJECT,
        policy_tag="p",
        disposition=Policy.REJECT if is_fail else Policy.NONE,
        dkim_domains=() if is_fail else ("b.test",),
        record=parse_record(record.encode()),
    )


def row(
    found: DmarcResult, handling: Policy = Policy.NONE, forwarder: str = ""
) -> JudgedMessage | None:
    return judged_message(
        found,
        handling,
        forwarder,
        source_ip="192.0.2.1",
        envelope_from="c.test",
        spf=SpfResult(SpfOutcome.PASS, "", SpfIdentity.MAIL_FROM, "c.test"),
        dkim=[
            DkimResult(DkimOutcome.FAIL, domain="d.test", selector="one"),
            DkimResult(DkimOutcome.PASS, domain="b.test", selector="two"),
        ],
    )


@pytest.mark.parametrize(
    ("found", "handling", "forwarder", "disposition", "override"),
    [
        (result(DmarcOutcome.PASS), Policy.NONE, "", "pass", ""),
        (result(), Policy.REJECT, "", "reject", ""),
        (result(), Policy.QUARANTINE, "", "quarantine", "local_policy"),
        (result(), Policy.NONE, "", "none", "local_policy"),
        (result(), Policy.NONE, "lists.test", "none", "trusted_forwarder"),
    ],
)
def test_rows(
    found: DmarcResult, handling: Policy, forwarder: str, disposition: str, override: str
) -> None:
    told = row(found, handling, forwarder)
    assert told is not None
    assert (told.disposition, told.override) == (disposition, override)
    assert (told.header_from, told.envelope_from, told.spf) == ("m.b.test", "c.test", "fail")
    assert told.signatures[0][0] == ("b.test" if found.is_pass else "d.test")


def test_who_asks_for_no_reports_is_not_counted() -> None:
    assert row(result(record="v=DMARC1; p=reject")) is None
    assert row(result(DmarcOutcome.TEMPERROR)) is None
    assert row(DmarcResult(DmarcOutcome.NONE, "m.b.test")) is None


def test_reports_are_told_from_other_mail() -> None:
    assert is_report(b"From: x\r\nSUBJECT: Report Domain: b.test\r\n")
    assert not is_report(b"From: x\r\nSubject: Re: Report Domain: b.test\r\n")


def test_counts_of_all_workers_are_put_together(tmp_path: Path) -> None:
    other = MESSAGE._replace(source_ip="2001:db8::1")
    for messages in ([MESSAGE, MESSAGE, other], [MESSAGE]):
        counts = DmarcCounts(clock=lambda: NOW)
        for message in messages:
            counts.add(message)
        files = DmarcFiles(tmp_path)
        files.save(counts.take_changed())
        assert counts.take_changed() == {}
    assert files.days() == [DAY]
    assert files.load(DAY).rows == {"b.test": {MESSAGE: 3, other: 1}}
    files.forget(DAY)
    assert files.days() == []


def test_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_reports, "MAX_ROWS", 2)
    monkeypatch.setattr(dmarc_reports, "MAX_DOMAINS", 1)
    day = DmarcDay()
    for number in range(5):
        day.add(MESSAGE._replace(source_ip=f"192.0.2.{number}"))
    day.add(MESSAGE._replace(policy=PUBLISHED._replace(domain="other.test")))
    assert len(day.rows["b.test"]) == 2
    assert day.left_out == {"b.test": 3}


def test_a_damaged_file_is_left_out(tmp_path: Path) -> None:
    files = DmarcFiles(tmp_path)
    day = DmarcDay()
    day.add(MESSAGE)
    files.save({DAY: day})
    for name, text in (("a", "["), ("b", '{"rows": [[1, 2]]}'), ("c", "{}")):
        (tmp_path / "dmarc-reports" / f"{DAY}.{name}.json").write_text(text)
    assert files.load(DAY).rows == {"b.test": {MESSAGE: 1}}


def text_of(node: ET.Element, path: str) -> str:
    found = node.find("/".join(f"{{{NAMESPACE}}}{part}" for part in path.split("/")))
    assert found is not None, path
    return found.text or ""


def test_the_report_as_xml() -> None:
    odd = MESSAGE._replace(header_from="<&>\x00\n", signatures=())
    packed = report_xml(DAY, {MESSAGE: 7, odd: 1}, REPORTER, identity="1@a.test", left_out=3)
    root = ET.fromstring(gzip.decompress(packed))
    assert root.tag == f"{{{NAMESPACE}}}feedback"
    for path, expected in {
        "report_metadata/org_name": "a.test",
        "report_metadata/email": "postmaster@a.test",
        "report_metadata/report_id": "1@a.test",
        "report_metadata/date_range/begin": str(DAY * DAY_S),
        "report_metadata/date_range/end": str(DAY * DAY_S + 86_399),
        "policy_published/domain": "b.test",
        "policy_published/discovery_method": "treewalk",
        "policy_published/p": "reject",
        "policy_published/np": "none",
        "policy_published/aspf": "s",
        "record/row/source_ip": "192.0.2.1",
        "record/row/count": "7",
        "record/row/policy_evaluated/disposition": "quarantine",
        "record/row/policy_evaluated/dkim": "fail",
        "record/row/policy_evaluated/spf": "pass",
        "record/row/policy_evaluated/reason/type": "local_policy",
        "record/identifiers/header_from": "m.b.test",
        "record/identifiers/envelope_from": "c.test",
        "record/auth_results/dkim/selector": "one",
        "record/auth_results/spf/result": "pass",
    }.items():
        assert text_of(root, path) == expected
    second = root.findall(f"{{{NAMESPACE}}}record")[1]
    assert text_of(second, "identifiers/header_from") == "<&>??"
    assert "3 messages are left out" in text_of(root, "report_metadata/error")


@pytest.mark.parametrize(
    ("rua", "records", "expected"),
    [
        ("mailto:r@b.test", {}, ["r@b.test"]),
        ("mailto:r@reports.b.test", {}, ["r@reports.b.test"]),
        ("mailto:r@far.other", {}, []),
        (
            "mailto:r@far.other",
            {"b.test._report._dmarc.far.other": "v=DMARC1"},
            ["r@far.other"],
        ),
        ("mailto:r@far.other", {"b.test._report._dmarc.far.other": "v=spf1"}, []),
        (
            "mailto:r@far.other",
            {"b.test._report._dmarc.far.other": "v=DMARC1; rua=mailto:x@far.other"},
            ["x@far.other"],
        ),
        (
            "mailto:r@far.other",
            {"b.test._report._dmarc.far.other": "v=DMARC1; rua=mailto:x@victim.other"},
            ["r@far.other"],
        ),
    ],
)
def test_who_gets_reports(rua: str, records: dict[str, str], expected: list[str]) -> None:
    names = Zones(
        {"TXT _dmarc.b.test": [f"v=DMARC1; p=none; rua={rua}"]}
        | {f"TXT {name}": [text] for name, text in records.items()}
    )
    assert asyncio.run(wanted_addresses("b.test", names)) == expected


def test_reports_are_mail_of_the_day_after(tmp_path: Path) -> None:
    files = DmarcFiles(tmp_path)
    day = DmarcDay()
    day.add(MESSAGE)
    day.add(MESSAGE._replace(policy=PUBLISHED._replace(p="none")))
    day.add(MESSAGE._replace(policy=PUBLISHED._replace(domain="silent.test")))
    files.save({DAY: day})
    store = FakeStore()
    names = Zones({"TXT _dmarc.b.test": [RECORD]})
    key = SigningKey("a.test", "one", make_private_key(KeyKind.ED25519))

    async def run() -> list[int]:
        means = DmarcReportMeans(
            files, lambda: names, store, new_id, lambda domain: f"mx:{domain}", (key,)
        )
        return [await send_dmarc_reports(means, REPORTER, NOW + d * DAY_S) for d in (0, 1, 1)]

    assert asyncio.run(run()) == [0, 2, 0]
    first, second = store.rows.values()
    text = first.unit.content.first(100_000)
    mail = message_from_bytes(text, policy=policy.default)
    assert text.startswith(b"DKIM-Signature: ")
    assert mail["From"] == "postmaster@a.test"
    assert mail["To"] == "r@b.test"
    subject = f"Report Domain: b.test Submitter: a.test Report-ID: <{DAY}.b.test@a.test>"
    assert " ".join(mail["Subject"].split()) == subject
    (attachment,) = mail.iter_attachments()
    assert attachment.get_content_type() == "application/gzip"
    assert attachment.get_filename() == f"a.test!b.test!{DAY * DAY_S}!{DAY * DAY_S + 86_399}.xml.gz"
    root = ET.fromstring(gzip.decompress(attachment.get_content()))
    assert text_of(root, "policy_published/p") == "reject"
    assert b"Report-ID: <20000.1.b.test@a.test>" in second.unit.content.first(100_000)


def test_ours_get_none(tmp_path: Path) -> None:
    files = DmarcFiles(tmp_path)
    day = DmarcDay()
    day.add(MESSAGE)
    files.save({DAY: day})
    store = FakeStore()
    names = Zones({"TXT _dmarc.b.test": [RECORD]})
    means = DmarcReportMeans(files, lambda: names, store, new_id, lambda _domain: "")
    asyncio.run(send_dmarc_reports(means, REPORTER, time.time()))
    assert store.rows == {}
