"""Dovecot as a second source of users, out of reach (row S43)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.dialogue import plain

if TYPE_CHECKING:
    from conformance.chasquid.conftest import StartServer
    from conformance.chasquid.servers import Server


@pytest.fixture
def without_dovecot(start: StartServer) -> Server:
    """A server that shall ask a Dovecot which is not there."""
    return start(
        keys={
            "dovecot_auth": "true",
            "dovecot_userdb_path": '"/nonexistent/auth-chasquid-userdb"',
            "dovecot_client_path": '"/nonexistent/auth-chasquid-client"',
        }
    )


@pytest.mark.case("S43")
def test_dovecot_down_is_temporary_for_users_it_may_know(without_dovecot: Server) -> None:
    with without_dovecot.connect(tls=True) as client:
        client.ehlo()
        client.expect(f"AUTH PLAIN {plain('stranger@d1.test', 'secret')}", "454 4.7.0")
        client.expect("MAIL FROM:<user@pass.test>", "250")
        client.expect("RCPT TO:<stranger@d1.test>", "451 4.4.3")


@pytest.mark.case("S43")
def test_dovecot_down_does_not_matter_to_local_users(without_dovecot: Server) -> None:
    with without_dovecot.authenticated() as client:
        client.expect("MAIL FROM:<user@d1.test>", "250")
        client.expect("RCPT TO:<juan@d1.test>", "250")
