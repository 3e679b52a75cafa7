"""Greeting, EHLO, command order and the rules of a command line (rows S1–S19, S50)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.dialogue import Client, Closed
from conformance.chasquid.servers import Settings

if TYPE_CHECKING:
    from conformance.chasquid.conftest import StartServer
    from conformance.chasquid.servers import Server

ALWAYS_OFFERED = {"8BITMIME", "PIPELINING", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE"}
IMPATIENT = Settings(("limits.command_timeout=1s", "limits.data_timeout=1s"))
MIB = 1024 * 1024


@pytest.mark.case("S1")
def test_greeting_names_the_host(server: Server) -> None:
    with server.connect() as client:
        assert client.greeting.text.startswith("220 mx.test ESMTP")


@pytest.mark.case("S2")
@pytest.mark.parametrize("line", ["EHLO", "HELO", "EHLO "], ids=repr)
def test_hello_needs_a_name(server: Server, line: str) -> None:
    with server.connect() as client:
        client.expect(line, "501")


@pytest.mark.case("S3")
def test_ehlo_on_plain_text_offers_starttls_and_no_auth(server: Server) -> None:
    with server.connect() as client:
        keywords = client.ehlo().keywords
    assert keywords.keys() >= ALWAYS_OFFERED | {"STARTTLS"}
    assert keywords["SIZE"] == str(MIB)
    assert keywords.keys() >= {"CHUNKING", "DSN"}
    assert "AUTH" not in keywords


@pytest.mark.case("S4")
def test_ehlo_on_tls_offers_auth_and_no_starttls(server: Server) -> None:
    with server.connect(tls=True) as client:
        keywords = client.ehlo().keywords
    assert keywords.keys() >= ALWAYS_OFFERED
    assert {"PLAIN", "LOGIN"} <= set(keywords["AUTH"].split())
    assert "STARTTLS" not in keywords


@pytest.mark.case("S5")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("NOOP x", "250"),
        ("HELP", "214"),
        ("RSET", "250"),
        ("VRFY x", "502"),
        ("EXPN x", "502"),
        ("", "500"),
    ],
    ids=repr,
)
def test_small_commands(server: Server, line: str, code: str) -> None:
    with server.session() as client:
        client.expect(line, code)


@pytest.mark.case("S6")
def test_verbs_may_be_lower_case(server: Server) -> None:
    with server.session() as client:
        client.expect("noop", "250")
        client.expect("eHlO cli", "250")


@pytest.mark.case("S6")
@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\r\n"], ids=repr)
def test_only_crlf_ends_a_command(server: Server, line_end: bytes) -> None:
    """Nothing behind the bad line end may run: it could be a smuggled command."""
    with server.session() as client:
        client.send(b"noop" + line_end + b"NOOP\r\nNOOP\r\n")
        reply = client.read_reply()
        assert reply.text.startswith("500 5.5.2"), reply
        assert client.is_closed()


@pytest.mark.case("S7")
def test_third_bad_command_ends_the_session(server: Server) -> None:
    with server.session() as client:
        client.expect("NONSENSE", "500")
        client.expect("NONSENSE", "500")
        client.expect("NONSENSE", "421 4.7.0")
        assert client.is_closed()


@pytest.mark.case("S7")
def test_refused_recipients_are_not_bad_commands(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:<>", "250")
        for number in range(5):
            client.expect(f"RCPT TO:<nobody{number}@d1.test>", "550 5.1.1")
        client.expect("RCPT TO:<user@d1.test>", "250")


@pytest.mark.case("S7")
def test_refused_recipients_have_a_limit_of_their_own(start: StartServer) -> None:
    server = start(settings=Settings(("limits.rejected_recipients=4",)))
    with server.session() as client:
        client.expect("MAIL FROM:<>", "250")
        replies = [client.command(f"RCPT TO:<nobody{n}@d1.test>").code for n in range(5)]
        assert replies == [550, 550, 550, 550, 421]
        assert client.is_closed()


@pytest.mark.case("S8")
def test_bad_commands_count_across_starttls(server: Server) -> None:
    with server.session() as client:
        client.expect("NONSENSE", "500")
        client.expect("NONSENSE", "500")
        client.starttls()
        client.expect("NONSENSE", "421 4.7.0")
        assert client.is_closed()


@pytest.mark.case("S9")
@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST /x HTTP/1.1", "CONNECT a:25 HTTP/1.1"])
def test_http_ends_the_session(server: Server, line: str) -> None:
    with server.connect() as client:
        client.expect(line, "502")
        assert client.is_closed()


@pytest.mark.case("S10")
def test_command_line_at_the_limit_is_processed(server: Server) -> None:
    """The limit does not count CRLF."""
    with server.session() as client:
        client.expect("NOOP " + "x" * (4096 - len("NOOP ")), "250")


@pytest.mark.case("S10")
def test_longer_command_line_is_drained_and_counted(server: Server) -> None:
    with server.session() as client:
        client.expect("NOOP " + "x" * (4097 - len("NOOP ")), "500 5.5.6")
        client.expect("NOOP " + "x" * 60_000, "500 5.5.6")
        client.expect("NONSENSE", "421 4.7.0")


@pytest.mark.case("S10")
def test_auth_line_to_its_own_limit_is_processed(server: Server) -> None:
    with server.connect(tls=True) as client:
        client.ehlo()
        client.expect("AUTH PLAIN", "334")
        client.expect("A" * 12_288, "501 5.5.2")
        client.expect("AUTH PLAIN", "334")
        client.expect("A" * 12_289, "500 5.5.6")


@pytest.mark.case("S11")
def test_mail_needs_hello(server: Server) -> None:
    with server.connect() as client:
        client.expect("MAIL FROM:<a@pass.test>", "503 5.5.1")


@pytest.mark.case("S12")
def test_data_needs_sender_and_recipient(server: Server) -> None:
    with server.session() as client:
        client.expect("DATA", "503")
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("DATA", "503")


@pytest.mark.case("S13")
def test_rcpt_needs_a_sender(server: Server) -> None:
    with server.session() as client:
        client.expect("RCPT TO:<user@d1.test>", "503 5.5.1")


@pytest.mark.case("S14")
@pytest.mark.parametrize("line", ["MAIL TO:<a@b.test>", "RCPT FROM:<a@b.test>"])
def test_wrong_keyword_is_an_unknown_command(server: Server, line: str) -> None:
    with server.session() as client:
        client.expect(line, "500 5.5.2")


@pytest.mark.case("S15")
def test_mail_from_nothing(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM:", "500 5.5.4")


@pytest.mark.case("S16")
@pytest.mark.parametrize("path", ["<a>", "<a@@b>", "<@x:a@b>", "<a@b>junk"])
def test_malformed_reverse_path(server: Server, path: str) -> None:
    with server.session() as client:
        client.expect(f"MAIL FROM:{path}", "501 5.1.7")


@pytest.mark.case("S17")
def test_blanks_and_parameters_behind_from(server: Server) -> None:
    with server.session() as client:
        client.expect("MAIL FROM: <a@pass.test>  SIZE=10 BODY=8BITMIME", "250")


@pytest.mark.case("S18")
def test_declared_size_above_the_limit(server: Server) -> None:
    with server.session() as client:
        client.expect(f"MAIL FROM:<a@pass.test> SIZE={MIB + 1}", "552 5.3.4")
        client.expect(f"MAIL FROM:<a@pass.test> SIZE={MIB}", "250")


@pytest.mark.case("S19")
def test_address_of_257_octets(server: Server) -> None:
    domain = ".".join(["d" * 50] * 4) + ".test"
    fits = "a" * (256 - 1 - len(domain)) + "@" + domain
    with server.session() as client:
        client.expect(f"MAIL FROM:<a{fits}>", "501")
        client.expect("MAIL FROM:<>", "250")
        client.expect(f"RCPT TO:<a{fits}>", "501")


@pytest.mark.case("S50")
def test_idle_client_is_told_and_dropped(start: StartServer) -> None:
    server = start(settings=IMPATIENT)
    with server.session() as client:
        reply = client.read_reply()
        assert reply.code == 421, reply
        assert client.is_closed()
    with server.session() as client:
        client.envelope()
        client.expect("DATA", "354")
        client.send(b"A: b\r\n")
        reply = client.read_reply()
        assert reply.code == 421, reply
        assert client.is_closed()


@pytest.mark.case("S50")
def test_idle_client_is_dropped_sooner_on_a_full_server(start: StartServer) -> None:
    limits = ("limits.connections=1", "limits.busy_command_timeout=1s")
    server = start(settings=Settings(limits))
    with server.connect() as client:
        reply = client.read_reply()
        assert reply.code == 421, reply
        assert client.is_closed()


def test_closing_client_leaves_the_server_alive(server: Server) -> None:
    with server.session() as client:
        client.send(b"NOOP")
    with Client(server.config.smtp) as client:
        client.ehlo()
        client.expect("QUIT", "221")
        with pytest.raises(Closed):
            client.read_reply()
