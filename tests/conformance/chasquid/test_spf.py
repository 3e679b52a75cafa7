"""SPF at MAIL, security levels, and our trace fields (rows S20–S22, D13–D16, D22, D23, H31).

Both servers ask a real name server (NSD). chasquid, which cannot be told a port, finds it in a
network namespace of its own, and gets its listeners from outside as systemd would hand them over.
"""

from __future__ import annotations

import re
import socket
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, assert_never

import pytest

from conformance.chasquid.configdir import ConfigDir
from conformance.chasquid.dialogue import Client
from conformance.chasquid.hooks import Hooks
from conformance.chasquid.servers import Column, NameService, Server, Sockets, running
from harness.dns_namespace import with_dns
from harness.dns_zones import SPF_RECORDS, start_dns
from harness.processes import reaping

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWER = pytest.mark.newer_than_debian
LISTENERS = {"smtp": "smtp", "submission": "submission", "submission_tls": "submission_over_tls"}
# a domain for each test that raises a level
OWN_DOMAINS = ("level", "letters")
ZONES = {
    "test.": (
        *SPF_RECORDS,
        *(f'{domain} TXT "v=spf1 ip4:127.0.0.1 -all"' for domain in OWN_DOMAINS),
    )
}


@pytest.fixture(scope="module")
def checking(
    column: Column, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The common setup of the page with its zones."""
    root = tmp_path_factory.mktemp(f"spf-{column.value}")
    with ExitStack() as stack:
        sockets = {
            name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in LISTENERS
        }
        config = ConfigDir(
            root,
            keys={f"{key}_address": '"systemd"' for key in LISTENERS.values()},
            listen={name: each.getsockname() for name, each in sockets.items()},
        )
        match column:
            case Column.RELEVO:
                reaper = stack.enter_context(reaping(request))
                names = NameService(f"dns.servers={start_dns(reaper, root, ZONES)}", ())
            case Column.CHASQUID:
                names = NameService("", with_dns(root, ZONES))
            case _:
                assert_never(column)
        handed = Sockets({name: each.fileno() for name, each in sockets.items()})
        yield stack.enter_context(running(Server(column, config, sockets=handed, names=names)))


def mail_from(client: Client, sender: str) -> str:
    return client.command(f"MAIL FROM:<{sender}>").text


def delivered(server: Server, client: Client, sender: str = "a@pass.test") -> bytes:
    """Send a message from the client and return its header as it was delivered."""
    marker = uuid.uuid4().hex.encode()
    client.deliver(sender=sender, message=b"X-Marker: " + marker + b"\r\n\r\nx\r\n")
    (delivery,) = server.config.wait_for_deliveries(1, marker)
    return delivery.content.partition(b"\r\n\r\n")[0] + b"\r\n"


def fields(header: bytes, name: str) -> list[str]:
    """The values of all fields of a name, each on one line."""
    pattern = rf"^{name}:((?:.*\r\n[ \t])*.*)\r\n"
    found = re.findall(pattern, header.decode(), re.MULTILINE | re.IGNORECASE)
    return [" ".join(value.split()) for value in found]


@pytest.mark.case("S20")
def test_fail_is_refused_with_its_reason(checking: Server) -> None:
    with checking.session() as client:
        text = mail_from(client, "a@fail.test")
        assert text.startswith("550 5.7.23")
        assert "matched all" in text
        client.deliver(sender="a@pass.test")  # the session goes on


@pytest.mark.case("S21")
@pytest.mark.parametrize("domain", ["soft.test", "none.test", "absent.test"])
def test_other_results_are_accepted(checking: Server, domain: str) -> None:
    with checking.session() as client:
        client.deliver(sender=f"a@{domain}")


@pytest.mark.case("S21")
def test_dns_that_is_down_refuses_nobody(server: Server) -> None:
    with server.session() as client:
        client.deliver(sender="a@fail.test")


@pytest.mark.case("S22")
def test_who_is_logged_in_is_not_checked(checking: Server) -> None:
    with checking.authenticated() as client:
        header = delivered(checking, client, "a@fail.test")
    assert fields(header, "Received-SPF") == []
    assert fields(header, "Authentication-Results") == []


@pytest.mark.case("D13")
def test_received_of_a_stranger(checking: Server) -> None:
    with checking.session() as client:
        (received,) = fields(delivered(checking, client), "Received")
    assert " by mx.test (" in received
    assert " with ESMTP " in received
    assert "plain text!" in received
    assert 'envelope from "a@pass.test"' in received


@NEWER
@pytest.mark.case("D13")
def test_received_names_a_stranger_as_it_named_itself(checking: Server) -> None:
    with checking.session() as client:
        (received,) = fields(delivered(checking, client), "Received")
    assert received.startswith("from cli ([127.0.0.1]) by ")


@pytest.mark.case("D14")
def test_received_of_a_user_hides_the_address(checking: Server) -> None:
    with checking.connect() as client:
        client.expect("HELO cli", "250")
        client.starttls()
        client.expect("HELO cli", "250")
        client.login()
        (received,) = fields(delivered(checking, client, "user@d1.test"), "Received")
    assert "127.0.0.1" not in received
    assert received.startswith("from cli by mx.test (")
    assert " with SMTPSA " in received
    assert re.search(r" tls TLS_\w+ \(over SMTP, TLS-1\.[23], envelope from ", received)


@pytest.mark.case("D15")
def test_pass_is_told_to_the_reader(checking: Server) -> None:
    with checking.session() as client:
        header = delivered(checking, client)
    assert fields(header, "Received-SPF") == ["pass (matched ip)"]


@NEWER
@pytest.mark.case("D15")
def test_pass_is_told_to_programs(checking: Server) -> None:
    with checking.session() as client:
        header = delivered(checking, client)
    (results,) = fields(header, "Authentication-Results")
    assert re.match(r"mx\.test ?; ?spf=pass \(matched ip\)", results)
    names = re.findall(rb"^([\w-]+):", header, re.MULTILINE)
    assert names[:3] == [b"Authentication-Results", b"Received-SPF", b"Received"]


@pytest.mark.case("D16")
def test_nothing_is_said_of_the_null_reverse_path(checking: Server) -> None:
    with checking.session() as client:
        header = delivered(checking, client, "")
    assert fields(header, "Received-SPF") == []
    assert "spf=" not in "".join(fields(header, "Authentication-Results"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("level.test", "level.test", id="same", marks=pytest.mark.case("D22")),
        pytest.param(
            "letters.test", "Letters.TEST", id="other-letter-case", marks=pytest.mark.case("D23")
        ),
    ],
)
def test_clear_text_after_tls_is_refused(checking: Server, first: str, second: str) -> None:
    with checking.session() as client:
        assert mail_from(client, f"a@{first}").startswith("250")
    with checking.connect(tls=True) as client:
        client.ehlo()
        assert mail_from(client, f"a@{first}").startswith("250")
    with checking.session() as client:
        assert mail_from(client, f"b@{second}").startswith("550 5.7.3")
        assert mail_from(client, "a@pass.test").startswith("250")  # of another domain


@pytest.mark.case("H31")
@pytest.mark.parametrize(
    ("sender", "expected"), [("a@pass.test", b"1"), ("a@soft.test", b"0"), ("", b"0")]
)
def test_hooks_are_told_of_a_pass(checking: Server, sender: str, expected: bytes) -> None:
    hooks = Hooks(checking.config.path)
    hooks.clear()
    hooks.write("post-data", hooks.recorder)
    with checking.session() as client:
        client.deliver(sender=sender)
    (call,) = hooks.calls()
    hooks.clear()
    assert call.environment["SPF_PASS"] == expected
