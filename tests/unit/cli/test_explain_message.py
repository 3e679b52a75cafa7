"""`relevo explain MESSAGE`: every step of the authentication, and the answer that follows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relevo.cli.options import EXIT_NO, EXIT_USAGE
from relevo.mailauth.dkim import SigningKey, sign_message
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key
from unit.cli.invoking import Run
from unit.mailauth.spf.zones import FAILS, Zones

RSA = SigningKey("far.test", "rsa", make_private_key(KeyKind.RSA_2048))
ED = SigningKey("far.test", "ed", make_private_key(KeyKind.ED25519))
MESSAGE = b"From: A <a@news.far.test>\r\nSubject: x\r\n\r\nbody\r\n"
FROM_OUTSIDE = ("--client-ip", "192.0.2.7", "--helo", "mx.far.test")
SENT = (*FROM_OUTSIDE, "--mail-from", "a@far.test")
SPF = "v=spf1 include:spf.far.test -all"


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str] | str]:
    records: dict[str, list[str] | str] = {
        "TXT far.test": [SPF],
        "TXT spf.far.test": ["v=spf1 ip4:192.0.2.0/24"],
        "TXT _dmarc.far.test": ["v=DMARC1; p=reject; sp=quarantine"],
        "TXT rsa._domainkey.far.test": [key_record(RSA.key)],
        "TXT ed._domainkey.far.test": [key_record(ED.key)],
    }
    monkeypatch.setattr("relevo.cli.explain_file.resolver_of", lambda _config: Zones(records))
    return records


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "message.eml"
    path.write_bytes(sign_message(MESSAGE, [RSA, ED], now=time.time()) + MESSAGE)
    return path


def test_a_good_message(run: Run, message: Path) -> None:
    outcome = run("explain", *SENT, str(message))
    assert outcome.code == 0
    lines = [line.strip() for line in outcome.out.splitlines()]
    for expected in (
        "from 192.0.2.7, EHLO mx.far.test, MAIL FROM a@far.test",
        "SPF of MAIL FROM, far.test: pass (matched ip)",
        f"far.test: record {SPF}",
        "spf.far.test: ip4:192.0.2.0/24 → pass",
        "far.test: include:spf.far.test → pass",
        "SPF of EHLO, mx.far.test: none (no DNS record found)",
        "DKIM signature 1, d=far.test s=rsa: pass",
        "tree walk: _dmarc.news.far.test has no record",
        "tree walk: _dmarc.far.test has a record, psd=u",
        "organizational domain: far.test",
        "policy: sp=quarantine of far.test",
        "SPF: far.test passed, aligned (relaxed: its organizational domain is far.test)",
        "DKIM: far.test passed, aligned (relaxed: its organizational domain is far.test)",
        "The server's answer: 250",
    ):
        assert expected in lines
    assert ";dmarc=pass (sp=quarantine)" in lines
    assert '_dmarc.far.test TXT → "v=DMARC1; p=reject; sp=quarantine"  (' in outcome.out
    (header,) = [line for line in lines if line.startswith("header: signed")]
    signed, found = header.split()[2].rstrip(","), header.split()[4]
    assert signed == found


def test_a_changed_message_shows_both_hashes(run: Run, message: Path) -> None:
    message.write_bytes(message.read_bytes().replace(b": x", b": y") + b"more\r\n")
    found = run("explain", "--json", *FROM_OUTSIDE, str(message)).json
    rsa = next(m for m in found["methods"] if m["name"] == "DKIM signature 1, d=far.test s=rsa")
    assert rsa["result"] == "fail: the body is not the one that was signed"
    for line in (rsa["lines"][0], rsa["lines"][2]):
        words = line.replace(",", "").split()
        assert words[words.index("signed") + 1] != words[words.index("found") + 1]
    assert found["reply"] == "250, and delivered with a field Relevo-Quarantine"


def test_a_refused_message_is_a_no(run: Run, message: Path) -> None:
    outcome = run("explain", "--client-ip", "198.51.100.1", "--mail-from", "a@far.test",
                  str(message))  # fmt: skip
    assert outcome.code == EXIT_NO
    assert "The server's answer: 550 5.7.23 at MAIL" in outcome.out
    two = message.with_name("two.eml")
    two.write_bytes(b"From: a@b.test\nFrom: a@c.test\n\nx\n")
    refused = run("explain", *FROM_OUTSIDE, str(two))
    assert refused.code == EXIT_NO
    assert "no clear author: there are several From fields" in refused.out
    assert "The server's answer: 550 5.7.1" in refused.out


def test_the_envelope_is_read_from_trace_fields(run: Run, message: Path) -> None:
    trace = (
        b"Return-Path: <b@far.test>\r\nReceived: from mx.far.test ([192.0.2.9])\r\n"
        b"\tby mx.d1.test (relevo) with ESMTP\r\n\t; Wed, 25 Nov 2026 00:00:00 +0000\r\n"
    )
    message.write_bytes(trace + message.read_bytes())
    outcome = run("explain", str(message))
    assert "from 192.0.2.9, EHLO mx.far.test, MAIL FROM b@far.test" in outcome.out


def test_without_an_address_spf_is_not_asked(run: Run, message: Path) -> None:
    outcome = run("explain", "-", stdin=message.read_bytes().decode())
    assert "SPF: not asked: the address of the client is not known (--client-ip)" in outcome.out
    assert "DMARC: pass" in outcome.out


def test_dns_that_fails_is_shown(
    run: Run, message: Path, table: dict[str, list[str] | str]
) -> None:
    table["TXT _dmarc.far.test"] = FAILS
    outcome = run("explain", *SENT, str(message))
    assert "DMARC: temperror: DNS could not tell: _dmarc.far.test TXT" in outcome.out
    assert "_dmarc.far.test TXT → failed: 192.0.2.53:53: no answer" in outcome.out


def test_what_is_neither_address_nor_file(run: Run) -> None:
    outcome = run("explain", "nothing.eml")
    assert outcome.code == EXIT_USAGE
    assert "neither an address nor a file" in outcome.err
