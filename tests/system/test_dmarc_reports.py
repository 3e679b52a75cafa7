"""A server's reports on DMARC reach another one as signed mail, which shows them to its owner."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harness.config_dir import Domain, Setting, relevo_config
from harness.dialog import Dialog
from harness.dns_zones import start_dns
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer, run_relevo
from relevo.mailauth.dkim.private_key import (
    KeyKind,
    key_record,
    make_private_key,
    private_key_pem,
    zone_line,
)

pytestmark = pytest.mark.needs_debian("nsd")
DAY_S = 86_400
READER = "dmarc@watch.test"
# the owner of b.test lets another organization read its reports, and that one wants them
RECORDS = (
    f'_dmarc.b TXT "v=DMARC1; p=none; fo=1; rua=mailto:{READER}; ruf=mailto:{READER}"',
    'b.test._report._dmarc.watch TXT "v=DMARC1"',
    "watch MX 10 mx.watch",
    "mx.watch A 127.0.0.1",
    '_dmarc.a TXT "v=DMARC1; p=reject"',
)


def send_forged(server: RelevoServer) -> None:
    with Dialog(server.smtp) as client:
        client.expect(250, "EHLO client.test")
        client.expect(250, "MAIL FROM:<forger@other.test>")
        client.expect(250, "RCPT TO:<user@a.test>")
        client.expect(354, "DATA")
        head = "From: ceo@b.test\r\nTo: user@a.test\r\nSubject: secret\r\nMessage-ID: <1@b.test>"
        client.expect(250, f"{head}\r\n\r\nprivate words\r\n.")


def yesterdays(folder: Path) -> None:
    """Make the counts of today those of the day before."""
    for path in folder.glob("*.json"):
        number, _, rest = path.name.partition(".")
        assert int(number) in {int(time.time() // DAY_S), int(time.time() // DAY_S) - 1}
        path.rename(path.with_name(f"{int(time.time() // DAY_S) - 1}.{rest}"))


def test_reports_are_sent_signed_and_read_by_another_relevo(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    key = make_private_key(KeyKind.RSA_2048)
    row = zone_line("a.test", "one", key_record(key))
    name_server = str(start_dns(reaper, tmp_path, {"test.": (*RECORDS, row)}))
    common: dict[str, Setting] = {
        "dns.servers": [name_server], "spf.skip_networks": [], "server.workers": 1,
    }  # fmt: skip
    reader = start_relevo(
        name="reader",
        domains={"watch.test": Domain({"dmarc": None})},
        settings=common | {"dmarc.action": "reject"},
    )
    config = relevo_config(
        tmp_path / "reporter",
        domains={"a.test": Domain({"user": None})},
        settings=common
        | {
            "outbound.port": reader.smtp.port,
            "outbound.allow_addresses": ["127.0.0.0/8"],
            "dmarc.report_delay": "0s",
            "dmarc.report_contact": "postmaster@a.test",
            "dmarc.failure_reports": True,
        },
    )
    file = config.path / "domains" / "a.test" / "dkim:one.pem"
    file.write_bytes(private_key_pem(key))
    file.chmod(0o600)
    reporter = RelevoServer(reaper, config).start()
    send_forged(reporter)
    mailbox = reader.config.mailbox(READER)
    (failure,) = mailbox.wait(1)
    assert b";dkim=pass" in failure
    assert b";dmarc=pass (p=reject)" in failure
    assert b"secret" not in failure
    assert b"private words" not in failure
    assert reporter.stop() == 0
    yesterdays(reporter.config.data / "dmarc-reports")
    reporter.start()
    daily = next(text for text in mailbox.wait(2) if b"Report Domain: b.test" in text)
    assert b";dmarc=pass (p=reject)" in daily
    directory = str(reader.config.path)
    files = [str(path) for path in mailbox.files()]
    kept = run_relevo(
        reaper, "reports", "import", *files, "--config-dir", directory, folder=tmp_path
    )
    assert "b.test  by a.test: 0 passed, 1 failed" in kept.output()
    assert "one message from 127.0.0.1 failed" in kept.output()
    listed = run_relevo(
        reaper, "reports", "list", "--json", "--config-dir", directory, folder=tmp_path
    )
    by_kind = {"rows" in report: report for report in json.loads(listed.output())}
    (counted,) = by_kind[True]["rows"]
    assert (counted["source_ip"], counted["count"]) == ("127.0.0.1", 1)
    assert by_kind[False]["sender"] == "redacted@other.test"
    shown = run_relevo(
        reaper, "reports", "show", by_kind[False]["name"], "--config-dir", directory,
        folder=tmp_path,
    )  # fmt: skip
    assert "From: ceo@b.test" in shown.output()
    assert "Message-ID: <1@b.test>" in shown.output()
