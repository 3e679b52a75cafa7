"""The forms of address by which servers were made to relay: none takes mail for others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from harness.dialog import ConnectionEnded, Dialog, Reply
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer

# d1.test is ours, mx.test is our name; other.test is not ours
FORMS = (
    "<victim@other.test>",
    "victim@other.test",
    "<victim@OTHER.TEST>",
    "<victim@other.test.>",
    "<victim%other.test@d1.test>",
    "<victim%other.test%d1.test@d1.test>",
    "<victim%other.test@mx.test>",
    "<victim%other.test@[127.0.0.1]>",
    "<victim%other.test@127.0.0.1>",
    "<victim%other.test@localhost>",
    "<victim%other.test@>",
    "<victim%other.test>",
    '<"victim%other.test">',
    '<"victim%other.test"@d1.test>',
    '<"victim@other.test"@d1.test>',
    '<"victim@other.test"@mx.test>',
    '<"victim@other.test"@[127.0.0.1]>',
    '<"victim@other.test">',
    '<"victim@other.test "@d1.test>',
    '<"<victim@other.test>"@d1.test>',
    '<"victim\\@other.test"@d1.test>',
    "<victim\\@other.test@d1.test>",
    "<victim@other.test@d1.test>",
    "<victim@d1.test@other.test>",
    "<@d1.test:victim@other.test>",
    "<@d1.test,@mx.test:victim@other.test>",
    "<@other.test:user@d1.test>",
    "<@:victim@other.test>",
    "<:victim@other.test>",
    "@d1.test:victim@other.test",
    "<other.test!victim>",
    "<other.test!victim@d1.test>",
    "<other.test!victim@mx.test>",
    "<other.test!victim@[127.0.0.1]>",
    "<d1.test!other.test!victim@mx.test>",
    '<"other.test!victim"@d1.test>',
    "<victim@>",
    "<@other.test>",
    "<victim@[127.0.0.1]>",
    "<victim@[IPv6:::1]>",
    "<victim@[192.0.2.1]>",
    "<victim@127.0.0.1>",
    "<victim@2130706433>",
    "<user@localhost>",
    "<user@localhost.>",
    "<user@d1.test.other.test>",
    "<user@other.test/d1.test>",
    "<user@other.test\\@d1.test>",
    "<user@d1.test\x00.other.test>",
    "<user@d1.test%00.other.test>",
    "<user@d1.test,victim@other.test>",
    "<user@d1.test>,<victim@other.test>",
    "<user@d1.test> <victim@other.test>",
    "<user@d1.test;victim@other.test>",
    "<user@d1.test\tvictim@other.test>",
    "<victim@other.test(d1.test)>",
    "<victim(@d1.test)@other.test>",
    "<victim=other.test@d1.test>",
    "<victim=40other.test@d1.test>",
    "<victim%40other.test@d1.test>",
    "<=?utf-8?q?victim=40other.test?=@d1.test>",
    "<&#118;ictim@other.test>",
    "<victim@other\uff0etest>",
    "<victim@other\u3002test>",
    "<victim@\uff4fther.test>",
    "<victim@xn--other-.test>",
    "<postmaster@other.test>",
    "<Postmaster%other.test>",
    "<|sendmail victim@other.test>",
    '<"|sendmail victim@other.test"@d1.test>',
    "<relay:[192.0.2.1]:victim@d1.test>",
    "<smtp:victim@other.test>",
    "<victim@other.test:25>",
    "<C=XX;ADMD=other;S=victim@d1.test>",
)
SENDERS = ("<>", "<user@d1.test>", "<spam@spam.test>", "<user@mx.test>", "<user@[127.0.0.1]>")


def test_there_are_enough_forms() -> None:
    assert len(set(FORMS)) == len(FORMS) >= 60


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelevoServer]:
    with reaping(request) as reaper:
        yield RelevoFactory(reaper, tmp_path_factory.mktemp("relay"))(
            settings={
                "limits.errors": 10_000,
                "limits.rejected_recipients": 10_000,
                "spf.check": False,
                "listen.smtp": ["127.0.0.1:0", "[::1]:0"],
            }
        )


def ask(client: Dialog, sender: str, form: str) -> Reply:
    client.expect(250, "RSET")
    client.expect(250, f"MAIL FROM:{sender} SMTPUTF8")
    return client.command(f"RCPT TO:{form}")


@pytest.mark.parametrize("sender", SENDERS)
def test_nobody_unknown_relays_whatever_the_address_looks_like(
    server: RelevoServer, sender: str
) -> None:
    # a new connection for a few: refused recipients beyond ten are answered slowly
    for start in range(0, len(FORMS), 10):
        with server.dialog() as client:
            client.expect(250, "EHLO d1.test")
            for form in FORMS[start : start + 10]:
                reply = ask(client, sender, form)
                assert 500 <= reply.code < 600, f"{form!a}: {reply}"
            client.expect(503, "DATA")
    assert server.status()["queue"]["messages"] == 0


def test_a_connection_over_ipv6_and_the_submission_port_are_no_exception(
    server: RelevoServer,
) -> None:
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO d1.test")
        assert client.command("MAIL FROM:<user@d1.test>").code == 550
        with suppress(ConnectionEnded):
            assert client.command("RCPT TO:<victim@other.test>").code == 503


def test_an_auth_parameter_is_no_login(server: RelevoServer) -> None:
    with server.dialog() as client:
        client.expect(250, "EHLO d1.test")
        client.command("MAIL FROM:<user@d1.test> AUTH=user@d1.test")
        assert client.command("RCPT TO:<victim@other.test>").code == 503
