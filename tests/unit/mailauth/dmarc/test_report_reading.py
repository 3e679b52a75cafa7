"""Reports of others: what is read of them, and what is refused."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable

import pytest

from relevo.mailauth.dmarc import report_reading
from relevo.mailauth.dmarc.report_reading import BadReport, ReportRow, read_report

XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
 <version>1.0</version>
 <report_metadata><org_name>Big Mail</org_name><email>r@big.test</email>
  <report_id>17@big.test</report_id>
  <date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>
 <policy_published><domain>A.test</domain><p>reject</p><sp>none</sp><pct>100</pct></policy_published>
 <record><row><source_ip>192.0.2.1</source_ip><count>3</count>
  <policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>pass</spf>
  </policy_evaluated></row>
  <identifiers><envelope_from>a.test</envelope_from><header_from>a.test</header_from></identifiers>
  <auth_results><dkim><domain>x.test</domain><result>fail</result></dkim>
   <dkim><domain>y.test</domain><selector>s</selector><result>pass</result></dkim>
   <spf><domain>a.test</domain><result>pass</result></spf></auth_results></record>
 <record><row><source_ip>2001:DB8::1</source_ip><count>1</count></row></record>
 <extension><thing><x>1</x></thing></extension>
</feedback>
"""


def zip_of(xml: bytes) -> bytes:
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", xml)
    return octets.getvalue()


def zipped(*names: str) -> bytes:
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, XML)
    return octets.getvalue()


@pytest.mark.parametrize(
    "octets",
    [
        XML,
        gzip.compress(XML),
        zipped("a.test!b.xml"),
        XML.replace(b' xmlns="urn:ietf:params:xml:ns:dmarc-2.0"', b""),
        XML.replace(b"<feedback xmlns=", b"<n:feedback xmlns:n=").replace(
            b"</feedback", b"</n:feedback"
        ),
    ],
    ids=["plain", "gzip", "zip", "no-namespace", "prefix"],
)
def test_a_report(octets: bytes) -> None:
    report = read_report(octets)
    assert (report.organization, report.contact) == ("Big Mail", "r@big.test")
    assert (report.report_id, report.domain) == ("17@big.test", "a.test")
    assert (report.begin, report.end) == (1_700_000_000, 1_700_086_399)
    assert report.policy == "p=reject, sp=none"
    assert report.rows == (
        ReportRow(
            "192.0.2.1", 3, "none", "fail", "pass", "a.test", "a.test",
            ("x.test=fail", "y.test=pass"), ("a.test=pass",),
        ),
        ReportRow("2001:db8::1", 1, "", "", "", "", "", (), ()),
    )  # fmt: skip
    assert [row.is_aligned for row in report.rows] == [True, False]


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "no well-formed XML"),
        (b"x", "no well-formed XML"),
        (XML[:-20], "no well-formed XML"),
        (b"<x/>", "its root is not"),
        (b"<feedback/>", "which domain"),
        (XML.replace(b"192.0.2.1", b"x"), "no address of a source"),
        (XML.replace(b">3<", b">-3<"), "count is no number"),
        (XML.replace(b">3<", b">" + b"9" * 400 + b"<"), "count is no number"),
        (XML.replace(b"<x>1</x>", b"<x>" * 30 + b"</x>" * 30), "too deep"),
        (XML.replace(b"<feedback", b"<!DOCTYPE feedback><feedback"), "document type"),
        (
            XML.replace(b"<feedback", b'<!DOCTYPE f [<!ENTITY a "aaaa">]><feedback'),
            "document type",
        ),
        (XML.replace(b"UTF-8", b"no-such-code"), "no well-formed XML"),
        (gzip.compress(XML)[:-12], "not complete"),
        (b"\x1f\x8b" + b"x" * 20, "damaged"),
        (b"PK\x03\x04" + b"x" * 20, "cannot be read"),
        (zipped("a.txt"), "not one XML file"),
        (zipped("a.xml", "b.xml"), "not one XML file"),
    ],
)
def test_what_is_refused(octets: bytes, problem: str) -> None:
    with pytest.raises(BadReport, match=problem):
        read_report(octets)


@pytest.mark.parametrize("pack", [gzip.compress, zip_of], ids=["gzip", "zip"])
def test_what_grows_is_refused(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(report_reading, "MAX_UNPACKED", 1_000_000)
    with pytest.raises(BadReport, match="when unpacked"):
        read_report(pack(b" " * 2_000_000))


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_reading, "MAX_ROWS", 1)
    with pytest.raises(BadReport, match="more than 1 rows"):
        read_report(XML)


def test_texts_are_bounded() -> None:
    report = read_report(XML.replace(b"Big Mail", b"\xc3\xa9\n" * 10_000))
    assert len(report.organization) == report_reading.MAX_TEXT
    assert report.organization.isprintable()


@pytest.mark.parametrize("encoding", [b"shift_jis", b"utf-7", b"zlib_codec", b"undefined"])
def test_an_encoding_that_xml_cannot_have_is_no_report(encoding: bytes) -> None:
    with pytest.raises(BadReport):
        read_report(XML.replace(b"UTF-8", encoding))


def test_a_zip_archive_that_is_not_deflated_is_refused() -> None:
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.xml", XML)
    with pytest.raises(BadReport):
        read_report(octets.getvalue())
