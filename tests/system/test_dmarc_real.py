"""DMARC of a running server whose name server is real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.config_dir import Setting, standard_settings
from harness.dialog import Dialog
from harness.dns_zones import SPF_RECORDS, start_dns
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer

pytestmark = pytest.mark.needs_debian("nsd")
RECORDS = (
    *SPF_RECORDS,
    '_dmarc.pass TXT "v=DMARC1; p=reject; rua=mailto:reports@pass"',
    '_dmarc.other TXT "v=DMARC1; p=reject; rua=mailto:reports@other.test"',
)


def sent(server: RelevoServer, author: str) -> tuple[int, str]:
    with Dialog(server.smtp) as client:
        client.expect(250, "EHLO client.test")
        client.expect(250, "MAIL FROM:<a@pass.test>")
        client.expect(250, "RCPT TO:<user@d1.test>")
        client.expect(354, "DATA")
        reply = client.command(f"From: {author}\r\nSubject: x\r\n\r\nx\r\n.")
        return reply.code, reply.text


def settings(dns: str, action: str) -> dict[str, Setting]:
    return {
        "server.workers": 1, "dns.servers": [dns], "spf.skip_networks": [], "dmarc.action": action,
    }  # fmt: skip


def test_mail_is_delivered_put_aside_or_refused(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    dns = str(start_dns(reaper, tmp_path, {"test.": RECORDS}))
    server = start_relevo(settings=settings(dns, "quarantine"))
    assert sent(server, "a@pass.test")[0] == 250
    assert sent(server, "a@other.test")[0] == 250
    good, bad = sorted(
        server.config.mailbox("user@d1.test").wait(2), key=lambda message: b"Quarantine" in message
    )
    assert b";dmarc=pass (p=reject)" in good
    assert b"Relevo-Quarantine" not in good
    assert b";dmarc=fail (p=reject, handled as quarantine)" in bad
    assert b"\nRelevo-Quarantine: dmarc=fail (p=reject of other.test)\n" in bad
    server.config.write_settings(standard_settings(server.config.path) | settings(dns, "reject"))
    server.reload()
    server.wait_for_log("configuration and files re-read")
    code, text = sent(server, "a@other.test")
    assert (code, "the p=reject of other.test" in text) == (550, True)
    assert sent(server, "a@pass.test, a@other.test")[0] == 550
    assert server.stop() == 0
    (counted,) = (server.config.data / "dmarc-reports").glob("*.json")
    found = {row[2]: row[-1] for row in json.loads(counted.read_bytes())["rows"]}
    assert found == {"pass": 1, "quarantine": 1, "reject": 1}
