"""TLS names: IANA's for what OpenSSL calls otherwise."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from relevo.mail.tls_names import iana_cipher_name, tls_version_name


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("TLSv1.2", "TLS-1.2"),
        ("TLS-1.3", "TLS-1.3"),
        ("TLSv1.3", "TLS-1.3"),
        ("SSLv3", "SSL-3.0"),
        ("TLSv2)\r\n", "TLSv2"),
    ],
)
def test_versions(version: str, name: str) -> None:
    assert tls_version_name(version) == name


@pytest.mark.parametrize(
    ("openssl", "iana"),
    [
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("DHE-RSA-AES256-SHA256", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
        ("AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"),
        ("DHE-RSA-AES128-CCM8", "TLS_DHE_RSA_WITH_AES_128_CCM_8"),
        ("SOMETHING-NEW\r\n", "SOMETHING-NEW"),
    ],
)
def test_cipher_suites(openssl: str, iana: str) -> None:
    assert iana_cipher_name(openssl) == iana


def test_every_suite_that_a_server_offers_has_the_name_openssl_gives_it() -> None:
    listing = subprocess.run(
        ["openssl", "ciphers", "-stdname", "ALL"], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[2]: line.split()[0] for line in listing.splitlines()}
    suites = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers()
    # Pre-shared keys and SRP have no certificate: no mail server offers them.
    offered = [s["name"] for s in suites if not {"PSK", "SRP"} & set(s["name"].split("-"))]
    assert len(offered) > 5
    assert {name: iana_cipher_name(name) for name in offered} == {n: names[n] for n in offered}
