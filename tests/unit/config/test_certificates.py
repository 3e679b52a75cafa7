"""Certificates that work, and all that is said about the others."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from relevo.config import Severity, find_certificates
from relevo.config.certificates import MAX_PEM_SIZE, check_certificates
from unit.config.pki import NOW, pem, write_certificate


def said(config_dir: Path, hostname: str = "mx.test") -> list[tuple[Severity, str]]:
    """Severity and text, with the place below the config directory."""
    folders, problems = find_certificates(config_dir)
    assert not problems
    return [
        (problem.severity, str(problem).replace(f"{config_dir}/", ""))
        for problem in check_certificates(folders, hostname, NOW)
    ]


@pytest.mark.parametrize(
    ("names", "hostname"),
    [
        (["mx.test"], "mx.test"),
        (["MX.Test"], "Mx.tesT"),
        (["other.test", "*.test"], "mx.test"),
        (["xn--bcher-kva.test"], "bücher.test"),
    ],
)
def test_a_good_certificate_has_no_problem(tmp_path: Path, names: list[str], hostname: str) -> None:
    write_certificate(tmp_path / "certs/mx.test", names)
    assert said(tmp_path, hostname) == []


@pytest.mark.parametrize("hostname", ["a.mx.test", "test", "mx.test.example", "-"])
def test_a_name_without_certificate_is_a_warning(tmp_path: Path, hostname: str) -> None:
    write_certificate(tmp_path / "certs/mx.test", ["mx.test", "*.example"])
    text = f"certs: no certificate is for the host name {hostname}"
    assert said(tmp_path, hostname) == [
        (Severity.WARNING, f"{text} (they are for *.example, mx.test)")
    ]


@pytest.mark.parametrize(
    ("starts", "ends", "text"),
    [
        pytest.param(-30, 15, None, id="15-days-left"),
        pytest.param(-30, 13, "the certificate expires on 2030-01-14 (renew it)", id="13-days"),
        pytest.param(-30, -1, "the certificate expired on 2029-12-31", id="expired"),
        pytest.param(1, 90, "the certificate is not valid before 2030-01-02", id="not-yet"),
    ],
)
def test_the_end_of_a_certificate_is_a_warning(
    tmp_path: Path, starts: int, ends: int, text: str | None
) -> None:
    write_certificate(
        tmp_path / "certs/mx.test",
        starts=NOW + timedelta(days=starts),
        ends=NOW + timedelta(days=ends),
    )
    problems = said(tmp_path)
    if text is None:
        assert problems == []
    else:
        ((severity, line),) = problems
        assert severity is Severity.WARNING
        assert line.startswith(f"certs/mx.test/fullchain.pem: {text}")


def test_the_key_of_another_certificate_is_an_error(tmp_path: Path) -> None:
    first, second = tmp_path / "certs/a", tmp_path / "certs/b"
    write_certificate(first)
    write_certificate(second)
    shutil.copy(first / "privkey.pem", second / "privkey.pem")
    ((severity, line),) = said(tmp_path)
    assert severity is Severity.ERROR
    assert line.startswith("certs/b/privkey.pem: the key does not belong to the certificate")


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("fullchain.pem", b"", "the file has no certificate in PEM form"),
        ("fullchain.pem", b"x" * (MAX_PEM_SIZE + 1), "the file is larger than 1048576 octets"),
        ("privkey.pem", b"junk", "the file has no usable key in PEM form"),
        ("privkey.pem", pem(X25519PrivateKey.generate()), "the key does not belong"),
    ],
)
def test_a_file_that_is_no_pem_is_an_error(
    tmp_path: Path, file: str, content: bytes, text: str
) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    (tmp_path / "certs/mx.test" / file).write_bytes(content)
    ((severity, line),) = said(tmp_path)
    assert severity is Severity.ERROR
    assert line.startswith(f"certs/mx.test/{file}: {text}")


def test_an_encrypted_key_is_an_error(tmp_path: Path) -> None:
    key = X25519PrivateKey.generate()
    write_certificate(tmp_path / "certs/mx.test")
    (tmp_path / "certs/mx.test/privkey.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    assert said(tmp_path) == [
        (Severity.ERROR, "certs/mx.test/privkey.pem: the key is encrypted with a passphrase")
    ]


def test_a_key_that_everybody_can_read_is_a_warning(tmp_path: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    (tmp_path / "certs/mx.test/privkey.pem").chmod(0o644)
    ((severity, line),) = said(tmp_path)
    assert severity is Severity.WARNING
    assert "every user of this machine can read the private key (mode 0644)" in line
