"""Certificates: chosen by name, kept when what replaces them is not right."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from harness.certificates import client_context, write_certificate
from relevo.service.certificates import CertificateError, Certificates
from relevo.tls_layer import TlsLayer

_LOAD = """
import sys, pathlib
from relevo.service.certificates import Certificates
Certificates(pathlib.Path(sys.argv[1])).refresh()
"""


def loaded(certs: Path) -> Certificates:
    certificates = Certificates(certs)
    assert certificates.refresh()
    return certificates


def chosen_name(certificates: Certificates, asked: str | None) -> str:
    """What the server takes for its name after a handshake with a client that asks so."""
    assert certificates.context is not None
    server = TlsLayer(certificates.context)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(received, sent, server_hostname=asked)
    while not server.is_up:
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        server.receive(sent.read())
        server.handshake()
        received.write(server.take_output())
    return server.server_name


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        pytest.param("mx.test", "mx.test", id="a-name-of-ours"),
        pytest.param("MX.Test", "mx.test", id="in-other-case"),
        pytest.param("a.wild.test", "a.wild.test", id="below-a-wildcard"),
        pytest.param("other.test", "", id="not-ours"),
        pytest.param(None, "", id="none"),
        pytest.param("a\r\n\tx.wild.test", "", id="line-ends"),
        pytest.param("a b.wild.test", "", id="a-blank"),
    ],
)
def test_name_that_the_client_asked_for(tmp_path: Path, asked: str | None, chosen: str) -> None:
    write_certificate(tmp_path / "mx.test", "mx.test", "*.wild.test")
    assert chosen_name(loaded(tmp_path), asked) == chosen


def test_the_last_ones_stay_while_none_is_there(tmp_path: Path) -> None:
    write_certificate(tmp_path / "mx.test", "mx.test")
    certificates = loaded(tmp_path)
    context = certificates.context
    shutil.rmtree(tmp_path / "mx.test")
    with pytest.raises(CertificateError, match="no certificate with its key is left"):
        certificates.refresh()
    assert certificates.context is context
    write_certificate(tmp_path / "mx.test", "mx.test")
    assert certificates.refresh()


def test_an_encrypted_key_is_an_error_and_no_question_at_the_terminal(tmp_path: Path) -> None:
    write_certificate(tmp_path / "mx.test", "mx.test")
    path = tmp_path / "mx.test" / "privkey.pem"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    # OpenSSL asks standard input where there is no terminal.
    ended = subprocess.run(
        [sys.executable, "-c", _LOAD, str(tmp_path)],
        input=b"secret\n",
        start_new_session=True,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert b"cannot load certificate and key" in ended.stderr
