"""RCPT: relay, existence, normalization (rows S24–S33, D25)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.configdir import ConfigDir, Domain
from conformance.chasquid.servers import Column, Server, Settings, running
from conformance.chasquid.stores import waiting_recipients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.chasquid.conftest import StartServer

UNICODE_DOMAIN = "ñandú.test"
A_LABEL = "xn--and-6ma2c.test"
RELAY = "r.test"


@pytest.fixture(scope="module")
def unicode_server(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    domains = {"d1.test": Domain(), UNICODE_DOMAIN: Domain()}
    config = ConfigDir(tmp_path_factory.mktemp(f"unicode-{column.value}"), domains=domains)
    with running(Server(column, config)) as started:
        yield started


@pytest.mark.case("S24")
def test_relay_needs_auth(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect(f"RCPT TO:<x@{RELAY}>", "503 5.7.1")


@pytest.mark.case("S25")
def test_authenticated_user_may_relay_on_the_smtp_listener(server: Server) -> None:
    with server.authenticated() as client:
        client.expect("MAIL FROM:<user@d1.test>", "250")
        client.expect(f"RCPT TO:<x@{RELAY}>", "250")


@pytest.mark.case("S26")
def test_postmaster_without_a_domain_is_accepted(start: StartServer) -> None:
    """RFC 5321 §4.5.1, §2.3.5: the one forward-path without a domain, in any letter case."""
    server = start(settings=Settings(("postmaster=juan@d1.test",)))
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<Postmaster>", "250")
        client.expect("RCPT TO:<postmaster>", "250")
        client.expect("RCPT TO:<user>", "501 5.1.3")
        assert client.data().code == 250
    (delivery,) = server.config.wait_for_deliveries(1, b"A: b")
    assert delivery.recipient == "juan@d1.test"


@pytest.mark.case("S27")
def test_unknown_local_user_is_refused(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<nobody@d1.test>", "550 5.1.1")
    with server.authenticated() as client:
        client.expect("MAIL FROM:<user@d1.test>", "250")
        client.expect("RCPT TO:<nobody@d1.test>", "550 5.1.1")


@pytest.mark.case("S28")
def test_user_with_a_zero_width_joiner(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<us\u200der@d1.test>", "550 5.1.3")


@pytest.mark.case("S29")
def test_localhost_is_local_and_has_no_users(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<user@localhost>", "550 5.1.1")


@pytest.mark.case("S30")
def test_101_recipients_are_accepted_and_no_more(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        for number in range(101):
            client.expect(f"RCPT TO:<user+{number}@d1.test>", "250")
        client.expect("RCPT TO:<user+more@d1.test>", "452 4.5.3")


@pytest.mark.parametrize(
    "domain",
    [
        pytest.param(UNICODE_DOMAIN, marks=pytest.mark.case("S31"), id="unicode"),
        pytest.param(A_LABEL, marks=pytest.mark.case("S31"), id="a-label"),
        pytest.param(A_LABEL.upper(), marks=pytest.mark.case("S32"), id="upper-case-a-label"),
    ],
)
def test_forms_of_a_unicode_domain(unicode_server: Server, domain: str) -> None:
    with unicode_server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect(f"RCPT TO:<user@{domain}>", "250")
        client.expect(f"RCPT TO:<nobody@{domain}>", "550 5.1.1")


@pytest.mark.case("S33")
def test_quoted_at_sign_is_no_way_to_relay(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect(f'RCPT TO:<"a@d1.test"@{RELAY}>', "503 5.7.1")
    with server.authenticated() as client:
        client.expect("MAIL FROM:<user@d1.test>", "250")
        client.expect(f'RCPT TO:<"a@d1.test"@{RELAY}>', "250")
        assert client.data().code == 250
    waiting = waiting_recipients(server.column, server.config.data_dir)
    assert f'"a@d1.test"@{RELAY}' in waiting


@pytest.mark.case("D25")
@pytest.mark.parametrize("domain", ["a/b.test", "a!b.test", "../x.test", "a#b.test", "a_b/c"])
def test_domains_are_host_names(server: Server, domain: str) -> None:
    with server.authenticated() as client:
        client.expect(f"MAIL FROM:<x@{domain}>", "501")
        client.expect("MAIL FROM:<user@d1.test>", "250")
        client.expect(f"RCPT TO:<x@{domain}>", "501")
