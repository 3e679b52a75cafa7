"""AUTH and STARTTLS (rows S23, S34–S46, C17)."""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.dialogue import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.chasquid.dialogue import Client
    from conformance.chasquid.servers import Server

SHORTEST_FAILURE_S = 0.1


@pytest.fixture
def on_tls(server: Server) -> Iterator[Client]:
    with server.connect(tls=True) as client:
        client.ehlo()
        yield client


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.case("S23")
def test_submission_needs_auth(server: Server) -> None:
    with server.connect_submission() as client:
        client.ehlo()
        client.expect("MAIL FROM:<user@d1.test>", "550 5.7.9")
    with server.connect_submission_tls() as client:
        client.ehlo()
        client.expect("MAIL FROM:<user@d1.test>", "550 5.7.9")
        client.login()
        client.expect("MAIL FROM:<user@d1.test>", "250")


@pytest.mark.case("S34")
def test_no_auth_in_clear(server: Server) -> None:
    with server.session() as client:
        client.expect(f"AUTH PLAIN {plain('user@d1.test', 'secret')}", "503 5.7.10")


@pytest.mark.case("S35")
def test_auth_login(on_tls: Client) -> None:
    on_tls.expect("AUTH LOGIN", "334 VXNlcm5hbWU6")
    on_tls.expect(encoded("user@d1.test"), "334 UGFzc3dvcmQ6")
    on_tls.expect(encoded("secret"), "235")


@pytest.mark.case("S35")
def test_auth_without_or_with_an_unknown_mechanism(on_tls: Client) -> None:
    on_tls.expect("AUTH", "501")
    on_tls.expect("AUTH DIGEST-MD5", "504 5.5.4")


@pytest.mark.case("S36")
def test_auth_plain_in_two_steps(on_tls: Client) -> None:
    assert on_tls.command("AUTH PLAIN").text == "334 "
    on_tls.expect(plain("user@d1.test", "secret"), "235")


@pytest.mark.case("S37")
@pytest.mark.parametrize(
    "identities", ["user@d1.test\0", "\0user@d1.test", "user@d1.test\0user@d1.test"], ids=repr
)
def test_identity_may_stand_in_either_place(on_tls: Client, identities: str) -> None:
    on_tls.expect(f"AUTH PLAIN {encoded(identities + chr(0) + 'secret')}", "235")


@pytest.mark.case("S38")
@pytest.mark.parametrize(
    "response",
    [
        pytest.param(encoded("juan@d1.test\0user@d1.test\0secret"), id="ids-differ"),
        pytest.param(encoded("\0user@d1.test"), id="no-password"),
        pytest.param("!!!!", id="not-base64"),
        pytest.param(encoded("\0user@d1.test\0secre").rstrip("="), id="no-padding"),
        pytest.param(encoded("\0us er@d1.test\0secret"), id="blank-in-user"),
    ],
)
def test_undecodable_response(on_tls: Client, response: str) -> None:
    on_tls.expect(f"AUTH PLAIN {response}", "501 5.5.2")


@pytest.mark.case("S39")
@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("user@d1.test", "wrong", id="wrong-password"),
        pytest.param("nobody@d1.test", "secret", id="unknown-user"),
        pytest.param("rx@d1.test", "", id="receive-only"),
        pytest.param("user@elsewhere.test", "secret", id="unknown-domain"),
    ],
)
def test_failed_login_is_slow_and_says_nothing(on_tls: Client, name: str, password: str) -> None:
    began = time.monotonic()
    on_tls.expect(f"AUTH PLAIN {plain(name, password)}", "535 5.7.8")
    assert time.monotonic() - began >= SHORTEST_FAILURE_S


@pytest.mark.case("S40")
def test_second_auth_after_success(on_tls: Client) -> None:
    on_tls.login()
    on_tls.expect(f"AUTH PLAIN {plain('user@d1.test', 'secret')}", "503")


@pytest.mark.case("S41")
def test_login_name_is_case_mapped(on_tls: Client) -> None:
    on_tls.login("USER@D1.TEST")


@pytest.mark.case("S42")
@pytest.mark.parametrize("name", ["us.er@d1.test", "user+x@d1.test"])
def test_login_name_keeps_dots_and_suffix(on_tls: Client, name: str) -> None:
    on_tls.expect(f"AUTH PLAIN {plain(name, 'secret')}", "535 5.7.8")


@pytest.mark.case("S44")
def test_plain_text_behind_starttls_is_discarded(server: Server) -> None:
    with server.session() as client:
        client.inject_starttls(b"NONSENSE\r\nMAIL FROM:<injected@pass.test>\r\n")
        client.expect("EHLO again", "250")
        client.expect("RCPT TO:<user@d1.test>", "503")


@pytest.mark.case("S45")
def test_starttls_forgets_ehlo(server: Server) -> None:
    with server.session() as client:
        client.starttls()
        assert client.command("MAIL FROM:<a@pass.test>").code == 503
        client.command("RCPT TO:<user@d1.test>")
        assert client.command("DATA").code != 354


@pytest.mark.case("S46")
def test_auth_can_be_cancelled(on_tls: Client) -> None:
    on_tls.expect("AUTH PLAIN", "334")
    reply = on_tls.expect("*", "501")
    assert "cancel" in reply.text.lower()
    on_tls.expect(f"AUTH PLAIN {plain('user@d1.test', 'secret')}", "235")


@pytest.mark.case("C17")
def test_logins_stand_in_the_mail_log(server: Server) -> None:
    stranger = f"{uuid.uuid4().hex}@d1.test"
    with server.connect(tls=True) as client:
        client.ehlo()
        client.expect(f"AUTH PLAIN {plain(stranger, 'secret')}", "535")
        (line,) = server.config.wait_for_log(f"auth failed for {stranger}")
        assert "127.0.0.1:" in line
        seen = len(server.config.log_lines("auth succeeded for user@d1.test"))
        client.login()
        server.config.wait_for_log("auth succeeded for user@d1.test", count=seen + 1)
