"""The case `verify`: signed mail of a domain with SPF, DKIM and DMARC, all of which pass.

relevo judges all three; chasquid SPF and, where it can, DKIM; Postfix by OpenDKIM and OpenDMARC (which
checks SPF itself), as milters. The name server of the run's own network has the records.
"""

import os
import socket
import sys
import time

from runner import processes

CASE = "verify"
SENDER = "load@signed.test"
PORTS = {"opendkim": 9731, "opendmarc": 9732}
KEY = "RELEVO_BENCH_KEY"  # the file of the key, for who runs within the network
LINE = b"The quick brown fox jumps over the lazy dog, again and again, 0123456\r\n"
SETTINGS = (
    '[dns]\nservers = ["127.0.0.1:53"]\n[spf]\nskip_networks = []\n[dmarc]\naction = "reject"\n'
)


def zone_rows(folder):
    """Records below `test.` for a key that is made here and whose file the environment names."""
    from relevo.mailauth.dkim.private_key import (
        KeyKind,
        key_record,
        make_private_key,
        private_key_pem,
    )

    key = make_private_key(KeyKind.RSA_2048)
    path = f"{folder}/bench-key.pem"
    with open(path, "wb") as file:
        file.write(private_key_pem(key))
    os.environ[KEY] = path
    record = key_record(key)
    texts = " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))
    return (
        'signed TXT "v=spf1 ip4:127.0.0.1 -all"',
        f"bench._domainkey.signed TXT {texts}",
        '_dmarc.signed TXT "v=DMARC1; p=reject; rua=mailto:reports@signed.test"',
    )


def message(folder, size):
    """A file with a signed message whose body has `size` octets."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from relevo.mailauth.dkim import SigningKey, sign_message

    with open(os.environ[KEY], "rb") as file:
        key = SigningKey("signed.test", "bench", load_pem_private_key(file.read(), None))
    body = (LINE * (size // len(LINE) + 1))[: size - 2] + b"\r\n"
    text = (
        b"From: <load@signed.test>\r\nTo: <user@bench.test>\r\nSubject: bench\r\n"
        b"Date: Tue, 24 Nov 2026 07:00:00 +0000\r\nMessage-ID: <bench@signed.test>\r\n\r\n" + body
    )
    path = f"{folder}/message-{size}"
    with open(path, "wb") as file:
        file.write(sign_message(text, [key], now=time.time()) + text)
    return path


def milters(base):
    """Start OpenDKIM and OpenDMARC for Postfix: their processes, and what main.cf has of them."""
    sys.path.insert(0, f"{os.path.dirname(__file__)}/../../tests")
    from harness.debian import program

    folder = f"{base}/milters"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/nobody", "w") as file:
        file.write("192.0.2.99\n")
    with open(f"{folder}/suffixes", "w") as file:
        file.write("test\n")
    with open(f"{folder}/opendkim.conf", "w") as file:
        file.write(
            f"Mode v\nAuthservID mx.bench.test\nInternalHosts {folder}/nobody\n"
            f"Socket inet:{PORTS['opendkim']}@127.0.0.1\nSyslog no\nRequireSafeKeys false\n"
        )
    with open(f"{folder}/opendmarc.conf", "w") as file:
        file.write(
            f"AuthservID mx.bench.test\nTrustedAuthservIDs mx.bench.test\nRejectFailures true\n"
            f"SPFIgnoreResults true\nSPFSelfValidate true\nIgnoreHosts {folder}/nobody\n"
            f"PublicSuffixList {folder}/suffixes\nSocket inet:{PORTS['opendmarc']}@127.0.0.1\n"
            "Syslog false\n"
        )
    started = []
    for name, port in PORTS.items():
        flag = "-x" if name == "opendkim" else "-c"
        command = [str(program(name)), "-f", flag, f"{folder}/{name}.conf"]
        started.append(processes.spawn(command, f"{folder}/{name}.out"))
        wait_open(port)
    listed = ", ".join(f"inet:127.0.0.1:{port}" for port in PORTS.values())
    return started, f"smtpd_milters = {listed}\n"


def wait_open(port):
    """Until somebody listens; milters say nothing first."""
    end = time.time() + 20
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")
