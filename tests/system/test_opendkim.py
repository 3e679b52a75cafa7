"""OpenDKIM judges our signatures, and we judge its."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from harness.debian import program
from harness.dns_namespace import with_dns
from harness.key_records import KeyRecords
from harness.milter_client import MilterClient
from harness.processes import reaping
from harness.waiting import wait_for
from relevo.mailauth.dkim import SigningKey, sign_message, verify_message
from relevo.mailauth.dkim.private_key import (
    KeyKind,
    key_record,
    make_private_key,
    private_key_pem,
    zone_line,
)

pytestmark = pytest.mark.needs_debian("opendkim-tools", "nsd")

TIMEOUT_S = 30
DATE = b"Date: Tue, 24 Nov 2026 07:39:31 +0000\r\n"  # OpenDKIM refuses mail without one
KEYS = [
    SigningKey("d1.test", kind.value, make_private_key(kind))
    for kind in (KeyKind.RSA_2048, KeyKind.RSA_3072)
]
RECORDS = {f"{key.selector}._domainkey.d1.test": key_record(key.key) for key in KEYS}
MESSAGES = {
    "plain": DATE + b"From: ada@d1.test\r\nTo: b@d2.test\r\nSubject: hello\r\n\r\nbody\r\n",
    "folded": (
        b"from:\tAda\r\n\t<ada@d1.test>\r\nTo:  b@d2.test ,\r\n  c@d2.test\r\n"
        b"subject: a  b\t c \r\n" + DATE + b"References: <a@b>\r\n <c@d>\r\n"
        b"MIME-Version: 1.0\r\n\r\n  two  blanks \t\r\n\r\n.\r\nend\t\r\n\r\n\r\n"
    ),
    "empty": DATE + b"From: ada@d1.test\r\nSubject:\r\n\r\n",
    "large": DATE
    + b"From: ada@d1.test\r\nSubject: x\r\n\r\n"
    + b"a line of some words \r\n" * 20_000,
}


def opendkim(words: Sequence[str], message: bytes) -> tuple[int, bytes]:
    """Exit status and output of a program that is given a message, and whatever it started gone."""
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(message, timeout=TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.selector)
def test_it_verifies_what_we_sign(tmp_path: Path, name: str, key: SigningKey) -> None:
    zones = {"d1.test.": [zone_line("d1.test", key.selector, key_record(key.key))]}
    command = [*with_dns(tmp_path, zones), str(program("opendkim-testmsg")), "-C"]
    message = MESSAGES[name]
    signed = sign_message(message, [key], now=time.time()) + message
    status, output = opendkim(command, signed)
    assert status == 0, output
    status, _ = opendkim(command, signed.replace(b"ada@d1.test", b"eve@d1.test"))
    assert status != 0


@pytest.fixture(scope="module")
def signer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """OpenDKIM as a filter that signs what comes from this machine; its address."""
    folder = tmp_path_factory.mktemp("opendkim")
    file = folder / "key.pem"
    file.write_bytes(private_key_pem(KEYS[0].key))
    file.chmod(0o600)
    settings = folder / "opendkim.conf"
    settings.write_text("RequireSafeKeys false\n")  # it dislikes that /tmp is everybody's
    with reaping(request) as reaper:
        address = ("127.0.0.1", free_port())
        command = [
            str(program("opendkim")), "-x", str(settings), "-f", "-b", "s",
            "-d", "d1.test", "-s", KEYS[0].selector, "-k", str(file),
            "-p", f"inet:{address[1]}@{address[0]}", "-c", "relaxed/simple",
            "-P", str(folder / "pid"),
        ]  # fmt: skip
        process = reaper.start(command, log=folder / "log")
        wait_for(lambda: is_listening(address) or not process.is_running(), what="OpenDKIM")
        assert process.is_running(), process.output()
        yield address
        process.kill()  # asked to end, it takes five seconds


@pytest.mark.needs_debian("opendkim")
@pytest.mark.parametrize("name", MESSAGES)
def test_we_verify_what_it_signs(signer: tuple[str, int], name: str) -> None:
    client = MilterClient(signer)
    try:
        filtered = client.filter(MESSAGES[name], "ada@d1.test", "bob@d2.test")
    finally:
        client.close()
    octets = b"".join(filtered.inserted) + MESSAGES[name]
    records = KeyRecords({name: record.encode() for name, record in RECORDS.items()})
    (result,) = asyncio.run(verify_message(octets, records, now=time.time()))
    assert result.is_pass, result.reason


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(address: tuple[str, int]) -> bool:
    with suppress(OSError), socket.create_connection(address, 1):
        return True
    return False
