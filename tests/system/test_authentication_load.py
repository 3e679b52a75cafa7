"""Verifying, judging and sealing mail never holds the event loop for long."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.config_dir import Domain, relevo_config
from harness.dialog import Dialog
from harness.dns_zones import start_dns
from harness.load import MIB, Held, begin_probe, large_message, probe_environment, read_probe
from harness.processes import Reaper
from harness.server import RelevoServer
from relevo.mailauth.arc import NO_CHAIN, ArcOutcome, ArcResult, seal_head
from relevo.mailauth.arc.sets import read_sets
from relevo.mailauth.dkim import (
    RELAXED_BODY,
    HeaderFields,
    SigningKey,
    sign_message,
)
from relevo.mailauth.dkim.body_hash import hash_body
from relevo.mailauth.dkim.private_key import (
    KeyKind,
    key_record,
    make_private_key,
    private_key_pem,
    zone_line,
)

TRIES = 3
MOST_COMPUTING_S = 0.005
LONGEST_CALLBACK_S = 0.020  # with what other threads have the interpreter meanwhile
LARGE = 10 * MIB
LINKS = 5
BURST = 120  # messages of each of two connections
AUTHOR = [SigningKey("far.test", kind.value, make_private_key(kind)) for kind in KeyKind]
FORWARDER = SigningKey("list.test", "one", make_private_key(KeyKind.RSA_2048))
OWN = make_private_key(KeyKind.RSA_2048)
ROWS = (
    'far TXT "v=spf1 ip4:127.0.0.1 -all"',
    '_dmarc.far TXT "v=DMARC1; p=reject; rua=mailto:r@far.test"',
    *(zone_line("far.test", key.selector, key_record(key.key)) for key in AUTHOR),
    zone_line("list.test", "one", key_record(FORWARDER.key)),
)


def authenticated(size: int) -> bytes:
    """A message of about `size` octets with a signature of each kind, and a chain of some links."""
    content = b"From: a@far.test\r\nTo: user@d1.test\r\n" + large_message(size)
    text = sign_message(content, AUTHOR, now=time.time()) + content
    head, _, body = text.partition(b"\r\n\r\n")
    head += b"\r\n"
    digest = hash_body(body, RELAXED_BODY).digest
    for link in range(LINKS):
        head = (
            seal_head(
                head,
                digest,
                FORWARDER,
                results=b" list.test; dmarc=pass",
                found=ArcResult(ArcOutcome.PASS) if link else NO_CHAIN,
                sets=read_sets(HeaderFields(head)),
                now=int(time.time()),
            )
            + head
        )
    return head + b"\r\n" + body


def pour(server: RelevoServer, message: bytes, recipient: str, count: int) -> None:
    with Dialog(server.smtp, timeout_s=60) as client:
        client.expect(250, "EHLO client.test")
        for _ in range(count):
            client.expect(250, "MAIL FROM:<a@far.test>")
            client.expect(250, f"RCPT TO:<{recipient}>")
            assert client.message(message).code == 250


@pytest.mark.alone
@pytest.mark.needs_debian("nsd")
def test_no_callback_holds_the_loop_while_mail_is_authenticated(
    reaper: Reaper, tmp_path: Path
) -> None:
    """Large messages and bursts of small ones at once, one of each sort sealed. Three tries."""
    name_server = str(start_dns(reaper, tmp_path, {"test.": ROWS}))
    large, small = authenticated(LARGE), authenticated(1024)
    held: list[Held] = []
    for number in range(TRIES):
        probe = tmp_path / f"probe-{number}"
        config = relevo_config(
            tmp_path / f"try-{number}",
            domains={"d1.test": Domain({"user": None}, "on: x@elsewhere.test")},
            settings={
                "server.workers": 1,
                "server.loop": "asyncio",
                "delivery.local": "discard",
                "dns.servers": [name_server],
                "spf.skip_networks": [],
                "dmarc.action": "reject",
                "outbound.smarthost": ["127.0.0.1:1"],
            },
        )
        file = config.path / "domains" / "d1.test" / "dkim:own.pem"
        file.write_bytes(private_key_pem(OWN))
        file.chmod(0o600)
        server = RelevoServer(reaper, config, env=probe_environment(probe)).start()
        pour(server, small, "on@d1.test", 1)  # modules are imported, names are known
        begin_probe(probe)
        with ThreadPoolExecutor(4) as pool:
            work = [
                pool.submit(pour, server, *what)
                for what in (
                    (large, "user@d1.test", 2),
                    (large, "on@d1.test", 1),
                    (small, "user@d1.test", BURST),
                    (small, "on@d1.test", BURST),
                )
            ]
            for each in work:
                each.result()
        server.stop()
        held.append(read_probe(probe))
        assert held[-1].callbacks > 1000
        last = held[-1]
        if last.computing <= MOST_COMPUTING_S and last.longest <= LONGEST_CALLBACK_S:
            break
    print(held)
    assert held[-1].computing <= MOST_COMPUTING_S, held
    assert held[-1].longest <= LONGEST_CALLBACK_S, held
