"""rspamd judges our signatures, and we judge its."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from harness.daemons import RspamdDkim, start_rspamd
from harness.dns_zones import start_dns
from harness.key_records import KeyRecords
from harness.processes import reaping
from relevo.mailauth.dkim import SigningKey, sign_message, verify_message
from relevo.mailauth.dkim.private_key import (
    KeyKind,
    key_record,
    make_private_key,
    private_key_pem,
    zone_line,
)

pytestmark = pytest.mark.needs_debian("rspamd", "nsd")

DATE = b"Date: Tue, 24 Nov 2026 07:39:31 +0000\r\n"
KEYS = {kind: SigningKey("d1.test", kind.value, make_private_key(kind)) for kind in KeyKind}
RSA = KEYS[KeyKind.RSA_2048]
MESSAGES = {
    "plain": DATE + b"From: ada@d1.test\r\nTo: b@d2.test\r\nSubject: hello\r\n\r\nbody\r\n",
    "folded": (
        b"from:\tAda\r\n\t<ada@d1.test>\r\nTo:  b@d2.test ,\r\n  c@d2.test\r\n"
        b"subject: a  b\t c \r\n" + DATE + b"References: <a@b>\r\n <c@d>\r\n"
        b"MIME-Version: 1.0\r\n\r\n  two  blanks \t\r\n\r\n.\r\nend\t\r\n\r\n\r\n"
    ),
    "large": DATE
    + b"From: ada@d1.test\r\nSubject: x\r\n\r\n"
    + b"a line of some words \r\n" * 20_000,
}


@pytest.fixture(scope="module")
def rspamd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("rspamd")
    file = folder / "key.pem"
    file.write_bytes(private_key_pem(RSA.key))
    rows = [zone_line("d1.test", key.selector, key_record(key.key)) for key in KEYS.values()]
    with reaping(request) as reaper:
        dns = str(start_dns(reaper, folder, {"test.": rows}))
        dkim = RspamdDkim(dns, file, RSA.selector)
        yield start_rspamd(reaper, folder, is_milter=False, dkim=dkim)


def verdict(port: int, message: bytes, client: str) -> dict[str, Any]:
    """What rspamd says of a message from a client at some address."""
    fields = {"IP": client, "From": "ada@d1.test", "Rcpt": "b@d2.test"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/checkv2", data=message, headers=fields
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        found: dict[str, Any] = json.load(reply)
        return found


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.selector)
def test_it_verifies_what_we_sign(rspamd: int, name: str, key: SigningKey) -> None:
    message = MESSAGES[name]
    signed = sign_message(message, [key], now=time.time()) + message
    symbols = verdict(rspamd, signed, "192.0.2.1")["symbols"]
    assert symbols["R_DKIM_ALLOW"]["options"] == [f"d1.test:s={key.selector}"]
    forged = signed.replace(b"ada@d1.test", b"eve@d1.test")
    assert "R_DKIM_REJECT" in verdict(rspamd, forged, "192.0.2.1")["symbols"]


@pytest.mark.parametrize("name", MESSAGES)
def test_we_verify_what_it_signs(rspamd: int, name: str) -> None:
    message = MESSAGES[name]
    value = verdict(rspamd, message, "127.0.0.1")["dkim-signature"]
    value = value if isinstance(value, str) else value[0]
    field = "DKIM-Signature: " + value.replace("\r\n", "\n").replace("\n", "\r\n") + "\r\n"
    records = KeyRecords({f"{RSA.selector}._domainkey.d1.test": key_record(RSA.key).encode()})
    octets = field.encode() + message
    (result,) = asyncio.run(verify_message(octets, records, now=time.time()))
    assert result.is_pass, result.reason
    (result,) = asyncio.run(verify_message(octets + b"x\r\n", records, now=time.time()))
    assert not result.is_pass
