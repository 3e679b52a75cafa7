"""DKIM of a running server: a large message, and keys that change."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from harness.dialog import Dialog
from harness.dns_zones import start_dns
from harness.key_records import KeyRecords
from harness.load import MIB, proportional_set_size
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for
from relevo.mailauth.dkim import SigningKey, sign_message, verify_message
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key, private_key_pem

pytestmark = pytest.mark.needs_debian("nsd")

FAR = SigningKey("far.test", "one", make_private_key(KeyKind.ED25519))
HEAD = b"From: a@far.test\r\nSubject: x\r\n\r\n"
LINE = b"some words  and blanks \t of a line\r\n"
EXTRA_MEMORY = 24 * MIB


@pytest.fixture
def server(reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path) -> RelevoServer:
    zones = {"test.": [f'one._domainkey.far TXT "{key_record(FAR.key)}"']}
    dns = start_dns(reaper, tmp_path, zones)
    return start_relevo(
        settings={
            "server.workers": 1, "dns.servers": [str(dns)], "reload.interval": "200ms",
        }
    )  # fmt: skip


def delivered(server: RelevoServer, count: int) -> list[bytes]:
    """The messages of the mailbox, with the line ends of the wire."""
    mailbox = server.config.mailbox("user@d1.test")
    wait_for(lambda: len(mailbox.files()) >= count, timeout_s=30, what=f"{count} messages")
    files = sorted(mailbox.files(), key=lambda path: path.stat().st_mtime_ns)
    return [path.read_bytes().replace(b"\n", b"\r\n") for path in files]


def send(server: RelevoServer, message: bytes) -> None:
    with Dialog(server.smtp) as client:
        client.expect(250, "EHLO client.test")
        client.envelope("a@far.test", "user@d1.test")
        assert client.message(message).code == 250


def submit(server: RelevoServer) -> None:
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        client.expect(250, "EHLO client.test")
        client.log_in("user@d1.test", "secret")
        client.envelope("user@d1.test", "user@d1.test")
        assert client.message(b"From: user@d1.test\r\n\r\nbody\r\n").code == 250


def test_a_large_message_is_verified_in_bounded_memory(server: RelevoServer) -> None:
    message = HEAD + LINE * (10 * MIB // len(LINE))
    signed = sign_message(message, [FAR], now=time.time()) + message
    send(server, HEAD + b"first\r\n")  # what is imported and opened once
    before = proportional_set_size(server.process.pid)
    send(server, signed)
    after = proportional_set_size(server.process.pid)
    send(server, signed + b"more\r\n")
    _, good, bad = (message.partition(b"\r\nReceived:")[0] for message in delivered(server, 3))
    assert b"dkim=pass" in good
    assert b"dkim=fail" in bad
    assert after - before < EXTRA_MEMORY


def test_a_new_key_signs_without_a_reload(server: RelevoServer) -> None:
    folder = server.config.path / "domains" / "d1.test"
    keys = {f"k{number}": make_private_key(KeyKind.ED25519) for number in range(2)}
    records = KeyRecords(
        {f"{name}._domainkey.d1.test": key_record(key).encode() for name, key in keys.items()}
    )

    sent = 0

    def signers() -> list[str]:
        nonlocal sent
        submit(server)
        sent += 1
        message = delivered(server, sent)[-1]
        at = message.find(b"DKIM-Signature:")
        results = asyncio.run(verify_message(message[at:], records, now=time.time()))
        return [result.selector for result in results if result.is_pass]

    assert signers() == []
    for name, key in keys.items():
        (folder / f"dkim:{name}.pem").write_bytes(private_key_pem(key))
    wait_for(lambda: signers() == ["k0", "k1"], timeout_s=10, what="two signatures")
    (folder / "dkim:k0.pem").unlink()
    wait_for(lambda: signers() == ["k1"], timeout_s=10, what="one signature")
