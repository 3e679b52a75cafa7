"""OpenDMARC and we come to the same results, where RFC 7489 and RFC 9989 agree."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from harness.debian import program
from harness.dns_namespace import with_dns
from harness.milter_client import MilterClient
from harness.processes import reaping
from harness.waiting import wait_for
from relevo.mailauth import SpfIdentity, SpfOutcome, SpfResult
from relevo.mailauth.dkim import DkimOutcome, DkimResult
from relevo.mailauth.dmarc import DmarcOutcome, DmarcResult, evaluate, find_policy
from unit.mailauth.spf.zones import Zones

pytestmark = pytest.mark.needs_debian("opendmarc", "nsd")

# labels are longer than one letter, in which it finds no organizational domain
RECORDS = {
    "one.test": "v=DMARC1; p=reject",
    "quiet.test": "v=DMARC1; p=quarantine; sp=none",
    "strict.test": "v=DMARC1; p=reject; adkim=s; aspf=s",
    "none-but-sub.test": "v=DMARC1; p=none; sp=reject; unknown=1; fo=1",
    "deep.one.test": "v=DMARC1; p=none",
    "half.test": "v=DMARC1; p=reject; adkim=s; aspf=r; rua=mailto:x@half.test",
}
AUTHORS = (
    "one.test",
    "m.one.test",
    "quiet.test",
    "m.quiet.test",
    "strict.test",
    "m.strict.test",
    "none-but-sub.test",
    "m.none-but-sub.test",
)
# by author: domain and outcome of SPF, domain and outcome of DKIM; {} is the author's domain
CHECKS = (
    ("{}", "pass", "", ""),
    ("", "", "{}", "pass"),
    ("x.{}", "pass", "", ""),
    ("", "", "x.{}", "pass"),
    ("far.test", "pass", "far.test", "pass"),
    ("{}", "softfail", "{}", "fail"),
)
CASES = [
    (author, *(text.format(author) for text in check)) for author, check in product(AUTHORS, CHECKS)
] + [
    ("deep.one.test", "one.test", "pass", "", ""),
    ("deep.one.test", "far.test", "pass", "", ""),
    ("half.test", "m.half.test", "pass", "", ""),
    ("half.test", "", "", "m.half.test", "pass"),
    ("half.test", "half.test", "fail", "half.test", "pass"),
    ("none.test", "none.test", "pass", "none.test", "pass"),
    ("m.none.test", "far.test", "pass", "", ""),
    ("one.test", "bone.test", "pass", "", ""),
    ("m.one.test", "one.test", "pass", "", ""),
    ("m.strict.test", "", "", "strict.test", "pass"),
]  # fmt: skip
# It takes strict alignment for relaxed; both RFCs want the same domain (RFC 7489 §3.1).
STRICTLY = [
    ("strict.test", "x.strict.test", "pass", "", ""),
    ("strict.test", "", "", "x.strict.test", "pass"),
    ("m.strict.test", "x.m.strict.test", "pass", "", ""),
    ("m.strict.test", "", "", "x.m.strict.test", "pass"),
    ("m.strict.test", "", "", "strict.test", "pass"),
    ("half.test", "", "", "m.half.test", "pass"),
]
SETTINGS = """
AuthservID mx.test
TrustedAuthservIDs mx.test
RejectFailures false
SPFIgnoreResults false
SPFSelfValidate false
Socket local:{folder}/socket
PublicSuffixList {folder}/suffixes
IgnoreHosts {folder}/nobody
RequiredHeaders false
Syslog false
"""
DMARC = re.compile(rb"dmarc=(\w+)(?:\s*\(p=(\w+))?")


@pytest.fixture(scope="module")
def filter_socket(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("opendmarc")
    (folder / "suffixes").write_text("test\n")
    (folder / "nobody").write_text("192.0.2.99\n")
    settings = folder / "opendmarc.conf"
    settings.write_text(SETTINGS.format(folder=folder))
    rows = [f'_dmarc.{name.removesuffix(".test")} TXT "{text}"' for name, text in RECORDS.items()]
    command = [
        *with_dns(folder, {"test.": rows}), str(program("opendmarc")), "-f", "-c", str(settings),
    ]  # fmt: skip
    path = folder / "socket"
    with reaping(request) as reaper:
        process = reaper.start(command, log=folder / "log")
        wait_for(lambda: listens(path) or not process.is_running(), what="OpenDMARC")
        assert process.is_running(), process.output()
        yield str(path)


def listens(path: Path) -> bool:
    """Its file is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_results_are_the_same(filter_socket: str) -> None:
    """In one test, since each case is a message and no more."""
    cases = [case for case in dict.fromkeys(CASES) if case not in STRICTLY]
    assert len(cases) >= 30
    different = []
    for case in cases:
        ours, theirs = our_result(*case), their_result(filter_socket, *case)
        expected = (ours.outcome.value, ours.policy.value if ours.policy_tag else "none")
        if theirs != expected:
            different.append((case, expected, theirs))
    assert different == [], "\n".join(map(str, different))


@pytest.mark.parametrize("case", STRICTLY)
def test_where_it_is_lenient(filter_socket: str, case: tuple[str, str, str, str, str]) -> None:
    assert our_result(*case).outcome is DmarcOutcome.FAIL
    assert their_result(filter_socket, *case)[0] == "pass"


def our_result(author: str, spf_domain: str, spf: str, dkim_domain: str, dkim: str) -> DmarcResult:
    names = Zones({f"TXT _dmarc.{name}": [text] for name, text in RECORDS.items()})
    sender = SpfResult(SpfOutcome(spf), "", SpfIdentity.MAIL_FROM, spf_domain) if spf else None
    signatures = [DkimResult(DkimOutcome(dkim), domain=dkim_domain)] if dkim else []

    async def run() -> DmarcResult:
        return await evaluate(await find_policy(author, names), sender, signatures, names)

    return asyncio.run(run())


def their_result(
    path: str, author: str, spf_domain: str, spf: str, dkim_domain: str, dkim: str
) -> tuple[str, str]:
    found = f"; spf={spf} smtp.mailfrom={spf_domain}" if spf else ""
    found += f"; dkim={dkim} header.d={dkim_domain}" if dkim else ""
    message = (
        f"Authentication-Results: mx.test{found or '; none'}\r\nFrom: a@{author}\r\n"
        "Date: Tue, 24 Nov 2026 07:39:31 +0000\r\nSubject: x\r\n\r\nx\r\n"
    ).encode()
    client = MilterClient(path)
    try:
        filtered = client.filter(message, f"a@{spf_domain or 'other.test'}", "b@d2.test")
    finally:
        client.close()
    said = DMARC.search(b"".join(filtered.inserted))
    assert said is not None, filtered
    return said[1].decode(), (said[2] or b"none").decode().lower()
