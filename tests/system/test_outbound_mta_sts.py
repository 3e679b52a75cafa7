"""MTA-STS: policies fetched from real policy hosts decide where mail goes, and are reported.

The policy hosts listen on port 443, so the test has a network of its own.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.dns_zones import start_dns
from harness.loop_thread import in_thread
from harness.mail_sink import free_port
from harness.processes import Reaper
from harness.server import RelevoFactory
from harness.users_mail import submit, wait_for_line
from relevo.outbound.daily_reports import Reporter
from relevo.outbound.tls_report_text import report_json
from relevo.outbound.tls_reports import ReportFiles
from unit.outbound.peer_server import PeerServer, listening
from unit.outbound.web_server import WebServer, http, serving

pytestmark = [pytest.mark.needs_debian("nsd"), pytest.mark.own_network]

MAIL, WEB = "127.0.0.{0}", "127.0.1.{0}"
# mode of the policy, names in the certificate, the mx that it allows
DOMAINS = {
    "good": ("enforce", "mx.good.test", "mx.good.test"),
    "wild": ("enforce", "mx.wild.test", "*.wild.test"),
    "wrong": ("enforce", "other.test", "mx.wrong.test"),
    "tried": ("testing", "other.test", "mx.tried.test"),
    "moved": ("enforce", "mx.moved.test", "mx.elsewhere.test"),
    "off": ("none", "other.test", "mx.elsewhere.test"),
}


def policy(mode: str, mx: str) -> bytes:
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n".encode()


def test_policies_are_kept_to_and_reported(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    authority = Authority()
    numbers = dict(zip(DOMAINS, range(61, 99), strict=False))
    port = free_port("127.0.0.1", *(MAIL.format(number) for number in numbers.values()))
    mails, webs, zone = {}, {}, []
    for name, (mode, certified, mx) in DOMAINS.items():
        folder = tmp_path / name
        number = numbers[name]
        zone += [
            f"{name} MX 10 mx.{name}",
            f"mx.{name} A {MAIL.format(number)}",
            f"mta-sts.{name} A {WEB.format(number)}",
            f'_mta-sts.{name} TXT "v=STSv1; id=1;"',
        ]
        mails[name] = PeerServer(authority.issue(certified).server_context(folder / "mail"))
        web = authority.issue(f"mta-sts.{name}.test").server_context(folder / "web")
        webs[name] = WebServer(web, http(policy(mode, mx)))
    resolver = start_dns(reaper, tmp_path, {"test.": zone})
    servers = [
        *(listening(mails[name], MAIL.format(numbers[name]), port) for name in DOMAINS),
        *(serving(webs[name], WEB.format(numbers[name]), 443) for name in DOMAINS),
    ]
    with in_thread(servers):
        server = start_relevo(
            settings={
                "dns.servers": [str(resolver)],
                "outbound.port": port,
                "outbound.allow_addresses": ["127.0.0.0/8"],
                "outbound_tls.ca_file": str(authority.write(tmp_path / "ca.pem")),
                "spf.check": False,
                "server.workers": 1,
            }
        )
        submit(server, *(f"user@{name}.test" for name in DOMAINS))
        for name in ("good", "wild", "tried", "off"):
            wait_for_line(server, f"user@{name}.test", "sent")
        wait_for_line(server, "user@wrong.test", "the MTA-STS policy of wrong.test", "mismatch")
        wait_for_line(server, "user@moved.test", "does not name it")
        assert mails["wrong"].bodies == mails["moved"].bodies == []
        assert b"MAIL" not in b" ".join(mails["wrong"].tls_commands)
        assert {name: len(web.requests) for name, web in webs.items()} == dict.fromkeys(DOMAINS, 1)
        server.stop()
        kept = {path.name for path in (server.config.data / "mta-sts").iterdir()}
        assert kept == {f"{name}.test.json" for name in DOMAINS}
    reports = ReportFiles(server.config.data)
    (number,) = reports.days()
    day = reports.load(number)
    found = {}
    for name in DOMAINS:
        packed = report_json(number, f"{name}.test", day, Reporter("a", "a", "a@a"))
        (about,) = json.loads(gzip.decompress(packed))["policies"]
        failures = {each["result-type"] for each in about.get("failure-details", ())}
        found[name] = (about["policy"]["policy-type"], failures)
    assert found["good"] == found["wild"] == ("sts", set())
    assert found["wrong"] == found["tried"] == ("sts", {"certificate-host-mismatch"})
    assert found["moved"] == ("sts", {"validation-failure"})
