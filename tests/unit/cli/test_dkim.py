"""`relevo dkim`: key files of domains, signatures of messages, the way to a new key."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import time
from pathlib import Path

import pytest

from harness.config_dir import ConfigDir
from harness.key_records import KeyRecords
from relevo.cli import dkim, dkim_rotation
from relevo.cli.options import EXIT_NO
from relevo.mailauth.dkim import verify_message
from unit.cli.invoking import Run

MESSAGE = "From: user@d1.test\nSubject: hi\n\nbody\n"
RECORD = re.compile(r'^(\S+)\._domainkey\.(\S+)\. IN TXT "(.*)"$', re.MULTILINE)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What DNS says, for a test to change."""
    records: dict[str, bytes] = {}
    for module in (dkim, dkim_rotation):
        monkeypatch.setattr(module, "resolver_of", lambda _config: KeyRecords(records))
    return records


def folder(site: ConfigDir) -> Path:
    return site.path / "domains" / "d1.test"


def publish(names: dict[str, bytes], text: str) -> None:
    """What an operator does with the output of a command."""
    for selector, domain, record in RECORD.findall(text):
        names[f"{selector}._domainkey.{domain}"] = record.replace('" "', "").encode()


def test_new_makes_a_key_that_only_its_owner_reads(run: Run, site: ConfigDir) -> None:
    outcome = run("dkim", "new", "d1.test", "--selector", "one")
    path = folder(site) / "dkim:one.pem"
    assert outcome.code == 0
    assert outcome.out.startswith(f"made {path}\n")
    assert 'one._domainkey.d1.test. IN TXT "v=DKIM1; k=rsa; p=' in outcome.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_new_takes_the_date_and_never_a_name_that_is_taken(run: Run, site: ConfigDir) -> None:
    for _ in range(2):
        assert run("dkim", "new", "d1.test", "--algorithm", "ed25519").code == 0
    today = time.strftime("%Y%m%d", time.gmtime())
    assert (folder(site) / f"dkim:{today}.pem").exists()
    assert (folder(site) / f"dkim:{today}a.pem").exists()
    again = run("dkim", "new", "d1.test", "--selector", today)
    assert again.code == EXIT_NO
    assert "already" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new", "other.test"), "no domain other.test"),
        (("new", "d1.test", "--selector", "../x"), "no selector"),
        (("rotate", "other.test"), "no domain other.test"),
    ],
)
def test_what_cannot_be_done_is_said(
    run: Run, site: ConfigDir, arguments: tuple[str, ...], said: str
) -> None:
    outcome = run("dkim", *arguments)
    assert outcome.code == EXIT_NO
    assert said in outcome.err


def test_dns_says_what_is_missing(run: Run, site: ConfigDir, names: dict[str, bytes]) -> None:
    run("dkim", "new", "d1.test", "--selector", "one", "--algorithm", "ed25519")
    missing = run("dkim", "dns", "--check")
    assert missing.code == EXIT_NO
    assert "one._domainkey.d1.test: no key" in missing.out
    publish(names, missing.out)
    assert run("dkim", "dns", "--check").out == "one._domainkey.d1.test: published\n"
    other = names["one._domainkey.d1.test"].replace(b"p=", b"p=AAAA")[:-4]
    names["one._domainkey.d1.test"] = other
    assert run("dkim", "dns", "d1.test", "--check").code == EXIT_NO


def test_what_is_signed_verifies(run: Run, site: ConfigDir, names: dict[str, bytes]) -> None:
    made = run("dkim", "new", "d1.test", "--selector", "one", "--algorithm", "ed25519")
    publish(names, made.out)
    signed = run("dkim", "sign", "-", stdin=MESSAGE).out
    good = run("dkim", "verify", "-", stdin=signed)
    assert (good.code, good.out) == (
        0, "pass: d1.test, selector one (ed25519-sha256, 256 bits)\n"
    )  # fmt: skip
    bad = run("dkim", "verify", "--json", "-", stdin=signed.replace("body", "bogus"))
    assert bad.code == EXIT_NO
    assert json.loads(bad.out)[0]["result"] == "fail"
    assert run("dkim", "verify", "-", stdin=MESSAGE).out == "none: the message is not signed\n"


def test_sign_without_a_key_or_an_author_says_so(run: Run, site: ConfigDir) -> None:
    assert "relevo dkim new d1.test" in run("dkim", "sign", "-", stdin=MESSAGE).err
    assert "--domain" in run("dkim", "sign", "-", stdin="Subject: x\n\n").err


def test_rotation_goes_from_key_to_key_without_a_gap(
    run: Run, site: ConfigDir, names: dict[str, bytes]
) -> None:
    made = run("dkim", "new", "d1.test", "--selector", "old", "--algorithm", "ed25519")
    publish(names, made.out)
    rotate = ("dkim", "rotate", "d1.test", "--selector", "young", "--algorithm", "ed25519")

    prepared = run(*rotate)
    assert signing_selectors(run, names) == ["old"]
    assert "signs nothing yet" in run(*rotate).out
    publish(names, prepared.out)
    assert run(*rotate).out.startswith("young signs from now on.\nold signs no more.")
    assert signing_selectors(run, names) == ["young"]
    assert "7 more days" in run(*rotate).out

    retired = folder(site) / "dkim:old.pem.retired"
    week_ago = time.time() - dkim_rotation.OVERLAP_S
    os.utime(retired, (week_ago, week_ago))
    revoked = run(*rotate)
    assert 'old._domainkey.d1.test. IN TXT "v=DKIM1; p="' in revoked.out
    assert not retired.exists()


def test_rotation_leaves_a_key_of_another_kind_alone(
    run: Run, site: ConfigDir, names: dict[str, bytes]
) -> None:
    run("dkim", "new", "d1.test", "--selector", "rsa")
    run("dkim", "rotate", "d1.test", "--selector", "ed", "--algorithm", "ed25519")
    run("dkim", "rotate", "d1.test", "--force")
    assert {path.name for path in folder(site).glob("dkim:*")} == {"dkim:rsa.pem", "dkim:ed.pem"}


def signing_selectors(run: Run, names: dict[str, bytes]) -> list[str]:
    """Who signs now, and verifies with what is in DNS."""
    signed = run("dkim", "sign", "-", stdin=MESSAGE).out.encode()
    octets = signed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    results = asyncio.run(verify_message(octets, KeyRecords(names), now=time.time()))
    return [result.selector for result in results if result.is_pass]
