"""Signing keys: PKCS#8 with RSA or Ed25519, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from relevo.config.dkim_keys import check_dkim_keys
from relevo.config.layout import DomainFolder
from relevo.config.problems import Severity
from unit.config.pki import pem

RSA_2048 = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def said(folder: Path) -> list[tuple[Severity, str]]:
    problems = check_dkim_keys(DomainFolder("d1.test", folder))
    return [(problem.severity, str(problem).replace(f"{folder}/", "")) for problem in problems]


def test_an_ed25519_and_an_rsa_key_are_good(domain: Path) -> None:
    (domain / "dkim:two.2030.pem").write_bytes(pem(RSA_2048))
    (domain / "dkim:two.2030.pem").chmod(0o600)
    assert said(domain) == []


@pytest.mark.case("C8")
@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(
            pem(RSA_2048, PrivateFormat.TraditionalOpenSSL),
            "the file has RSA PRIVATE KEY in it, not a PRIVATE KEY (PKCS#8) (convert it",
            id="pkcs1",
        ),
        pytest.param(
            pem(EC, PrivateFormat.TraditionalOpenSSL),
            "the file has EC PRIVATE KEY in it, not a PRIVATE KEY (PKCS#8) (convert it",
            id="ec",
        ),
        pytest.param(pem(EC), "the key is neither RSA nor Ed25519", id="ec-in-pkcs8"),
        pytest.param(b"", "the file lacks a PRIVATE KEY (PKCS#8) (make one", id="empty"),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\n",
            "the file has CERTIFICATE in it, not a PRIVATE KEY (PKCS#8) (make one",
            id="certificate",
        ),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "the private key cannot be decoded",
            id="damaged",
        ),
    ],
)
def test_other_keys_are_errors(domain: Path, content: bytes, text: str) -> None:
    (domain / "dkim:one.pem").write_bytes(content)
    ((severity, line),) = said(domain)
    assert severity is Severity.ERROR
    assert line.startswith(f"dkim:one.pem: {text}")


def test_a_short_rsa_key_is_a_warning(domain: Path) -> None:
    (domain / "dkim:one.pem").write_bytes(pem(rsa.generate_private_key(65537, 1024)))
    ((severity, line),) = said(domain)
    assert severity is Severity.WARNING
    assert "an RSA key of 1024 bits is short" in line


def test_a_selector_that_dns_cannot_have_is_an_error(domain: Path) -> None:
    (domain / "dkim:one.pem").rename(domain / "dkim:o_e.pem")
    ((severity, line),) = said(domain)
    assert severity is Severity.ERROR
    assert line.startswith("dkim:o_e.pem: 'o_e' is no DKIM selector")


def test_a_key_that_everybody_can_read_is_a_warning(domain: Path) -> None:
    (domain / "dkim:one.pem").chmod(0o604)
    ((severity, line),) = said(domain)
    assert severity is Severity.WARNING
    assert "every user of this machine can read the private key (mode 0604)" in line
