"""DKIM: what strangers' signatures are worth, and our own (rows D15–D21, H44).

Keys are in zones of a real name server (NSD). Debian's chasquid has no DKIM, so most of these rows
are relevo's alone.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.configdir import ConfigDir
from conformance.chasquid.hooks import Hooks
from conformance.chasquid.servers import Column, NameService, Server, running
from conformance.chasquid.test_spf import fields
from harness.dns_zones import SPF_RECORDS, start_dns
from harness.key_records import KeyRecords
from harness.processes import reaping
from relevo.mailauth.dkim import (
    RELAXED_BODY,
    BodyHashes,
    HeaderFields,
    SigningKey,
    sign_message,
    verify_message,
)
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key, private_key_pem
from relevo.mailauth.dkim.signing import sign_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.chasquid.dialogue import Client

NOW = 1_700_000_000
STRANGER = SigningKey("pass.test", "one", make_private_key(KeyKind.ED25519))
OURS = {
    "ed": make_private_key(KeyKind.ED25519),
    "rsa": make_private_key(KeyKind.RSA_2048),
}
RECORDS = KeyRecords({f"{s}._domainkey.d1.test": key_record(k).encode() for s, k in OURS.items()})
ZONES = {"test.": (*SPF_RECORDS, f'one._domainkey.pass TXT "{key_record(STRANGER.key)}"')}
MESSAGE = b"From: a@pass.test\r\nTo: user@d1.test\r\nSubject: hello\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def signing(
    column: Column, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The common setup of the page with two keys for d1.test, and zones that have a stranger's."""
    root = tmp_path_factory.mktemp(f"dkim-{column.value}")
    with ExitStack() as stack:
        config = ConfigDir(root)
        for selector, key in OURS.items():
            file = config.path / "domains" / "d1.test" / f"dkim:{selector}.pem"
            file.write_bytes(private_key_pem(key))
            file.chmod(0o600)
        names = None
        if column is Column.RELEVO:
            reaper = stack.enter_context(reaping(request))
            names = NameService(f"dns.servers={start_dns(reaper, root, ZONES)}", ())
        yield stack.enter_context(running(Server(column, config, names=names)))


def delivered(server: Server, client: Client, message: bytes, sender: str = "a@pass.test") -> bytes:
    """Send a message and return it as it was delivered."""
    marker = uuid.uuid4().hex.encode()
    client.deliver(sender=sender, message=b"X-Marker: " + marker + b"\r\n" + message)
    (delivery,) = server.config.wait_for_deliveries(1, marker)
    return delivery.content


def results_of(server: Server, message: bytes) -> str:
    """Authentication-Results of a message from outside."""
    with server.session() as client:
        content = delivered(server, client, message)
    head = content.partition(b"\r\n\r\n")[0] + b"\r\n"
    (results,) = fields(head, "Authentication-Results")
    return results


def signed_length(length: int) -> bytes:
    """MESSAGE with a signature whose l= is `length`."""
    head, _, body = MESSAGE.partition(b"\r\n\r\n")
    hashes = BodyHashes((RELAXED_BODY,))
    hashes.add(body)
    tags = [
        ("v", "1"), ("a", STRANGER.algorithm.value), ("c", "relaxed/relaxed"),
        ("d", STRANGER.domain), ("s", STRANGER.selector), ("l", str(length)), ("h", "From"),
        ("bh", "+cE3K6fQd1f4sNVxQm3p9JXW1kq8cP2LqDqKJ3FfW2E="),
    ]  # fmt: skip
    fields_of = HeaderFields(head + b"\r\n")
    return sign_field("DKIM-Signature", tags, STRANGER, fields_of, (b"from",)) + MESSAGE


@pytest.mark.newer_than_debian
@pytest.mark.case("D15", "D16")
def test_unsigned_mail_is_said_to_be_unsigned(signing: Server) -> None:
    # relevo says which identity SPF is about, and DMARC's result
    spf, dmarc = r"spf=pass \(matched ip\)(?: smtp\.mailfrom=\S+)?", r"(?: ?; ?dmarc=none\b.*)?"
    with_spf = results_of(signing, MESSAGE)
    assert re.fullmatch(rf"mx\.test ?; ?{spf} ?; ?dkim=none{dmarc}", with_spf)
    with signing.session() as client:
        head = delivered(signing, client, MESSAGE, "").partition(b"\r\n\r\n")[0] + b"\r\n"
    (results,) = fields(head, "Authentication-Results")
    assert re.fullmatch(rf"mx\.test ?; ?dkim=none{dmarc}", " ".join(results.split()))


@pytest.mark.newer_than_debian
@pytest.mark.case("D19")
def test_a_good_signature_passes(signing: Server) -> None:
    signed = sign_message(MESSAGE, [STRANGER], now=NOW) + MESSAGE
    results = results_of(signing, signed)
    assert "dkim=pass" in results
    assert "header.d=pass.test" in results
    changed = results_of(signing, signed.replace(b"\r\nx\r\n", b"\r\ny\r\n"))
    assert "dkim=fail" in changed


@pytest.mark.newer_than_debian
@pytest.mark.case("D17")
def test_a_bad_signature_field_is_a_permerror(signing: Server) -> None:
    assert "dkim=permerror" in results_of(signing, b"DKIM-Signature: v=1; a=b\r\n" + MESSAGE)


@pytest.mark.case("D18")
def test_a_length_beyond_the_body_is_a_permerror(signing: Server) -> None:
    assert "dkim=permerror" in results_of(signing, signed_length(1000))
    with signing.session() as client:
        client.deliver()


@pytest.mark.newer_than_debian
@pytest.mark.case("D19")
def test_five_signatures_are_looked_at(signing: Server) -> None:
    signature = sign_message(MESSAGE, [STRANGER], now=NOW)
    assert results_of(signing, signature * 6 + MESSAGE).count("dkim=pass") == 5


@pytest.mark.newer_than_debian
@pytest.mark.case("D20")
def test_every_key_of_the_sender_domain_signs(signing: Server) -> None:
    message = b"From: user@d1.test\r\nSubject: out\r\n\r\nbody  of it\r\n"
    with signing.authenticated() as client:
        content = delivered(signing, client, message, "user@d1.test")
    results = asyncio.run(verify_message(content, RECORDS, now=NOW + 10**9))
    assert sorted(result.selector for result in results) == ["ed", "rsa"]
    assert all(result.is_pass for result in results), results


@pytest.mark.case("D21")
def test_a_sender_domain_without_a_key_signs_nothing(signing: Server) -> None:
    with signing.authenticated() as client:
        content = delivered(signing, client, b"From: user@d1.test\r\n\r\nx\r\n", "a@other.test")
    assert b"dkim-signature" not in content.lower()


@pytest.mark.newer_than_debian
@pytest.mark.case("H44")
def test_hooks_see_received_and_then_our_signatures(signing: Server) -> None:
    hooks = Hooks(signing.config.path)
    hooks.write("post-data", hooks.recorder)
    with signing.authenticated() as client:
        delivered(signing, client, b"From: user@d1.test\r\n\r\nx\r\n", "user@d1.test")
    (call,) = hooks.calls()
    hooks.clear()
    names = re.findall(rb"^([\w-]+):", call.stdin.partition(b"\n\n")[0], re.MULTILINE)
    assert names[:3] == [b"Received", b"DKIM-Signature", b"DKIM-Signature"]
    assert b"Authentication-Results" not in names
