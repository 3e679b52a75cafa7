"""`relevo reports`: reports of other servers are kept once, listed and shown."""

from __future__ import annotations

import gzip
from email.message import EmailMessage
from pathlib import Path

import pytest

from relevo.cli.options import EXIT_NO
from unit.cli.invoking import Run
from unit.mailauth.dmarc.test_report_reading import XML


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "report.xml.gz"
    path.write_bytes(gzip.compress(XML))
    return path


def test_a_report_is_kept_once(run: Run, file: Path) -> None:
    first = run("reports", "import", str(file))
    again = run("reports", "import", str(file))
    assert first.code == 0
    assert first.out == again.out
    assert "2023-11-14  a.test  by Big Mail: 3 passed, 1 failed" in first.out
    assert run("reports", "list").out == first.out
    (listed,) = run("reports", "list", "--json").json
    assert (listed["domain"], len(listed["rows"])) == ("a.test", 2)


def test_one_report_with_its_failures_first(run: Run, file: Path) -> None:
    name = run("reports", "import", str(file)).out.split()[0]
    lines = run("reports", "show", name[:6]).out.splitlines()
    assert lines[1] == "policy: p=reject, sp=none"
    assert lines[2].split()[:3] == ["1", "FAIL", "2001:db8::1"]
    assert lines[3].split()[:3] == ["3", "pass", "192.0.2.1"]
    assert lines[3].endswith("(dkim x.test=fail, dkim y.test=pass, spf a.test=pass)")
    assert run("reports", "show", "--json", name).json["report_id"] == "17@big.test"


def test_reports_in_a_message(run: Run, tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "Report Domain: a.test"
    message.set_content("A report.\n")
    message.add_attachment(gzip.compress(XML), "application", "gzip", filename="a.xml.gz")
    path = tmp_path / "mail.eml"
    path.write_bytes(message.as_bytes())
    assert "3 passed, 1 failed" in run("reports", "import", str(path)).out


def test_what_is_no_report_is_named(run: Run, file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"Subject: x\n\nx\n")
    outcome = run("reports", "import", str(bad), str(file))
    assert outcome.code == EXIT_NO
    assert f"{bad}: it is neither a report nor a message with one" in outcome.err
    assert "3 passed" in outcome.out


@pytest.mark.parametrize("name", ["none", "../x", "*"])
def test_a_name_of_nothing(run: Run, name: str) -> None:
    assert run("reports", "show", name).code == EXIT_NO
