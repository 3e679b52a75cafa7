"""SPF and security levels at MAIL, and what the stored message says of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from relevo.journal import Rejected
from relevo.mail import NULL, parse_address
from relevo.queue import SecurityLevel
from relevo.queue.store import StoreFailed
from relevo.reception.sender import is_outside, is_to_be_checked
from unit.reception.conftest import Client, Place, Running, settle
from unit.reception.names import FAIL, PASS

HELLO = "EHLO cli\r\n"
REST = "RCPT TO:<user@d1.test>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\n"
RECORDS = {"pass.test": PASS, "fail.test": FAIL, "soft.test": "v=spf1 ~all", "bad.test": "v=spf1 x"}


@pytest.fixture
def checking(place: Place) -> Place:
    """SPF is asked, also about 192.0.2.7, who is the client of all tests; DMARC is not."""
    place.set("spf", check=True)
    place.set("dmarc", action="none")
    place.names.records |= RECORDS
    return place


def client_of(place: Place) -> Client:
    client = place.connect()
    client.say(HELLO)
    return client


async def mail_from(client: Client, sender: str) -> str:
    return await client.say_and_wait(f"MAIL FROM:<{sender}>\r\n")


async def stored(place: Place, client: Client, sender: str, rest: str = REST) -> bytes:
    """The message as it was stored."""
    output = await client.say_and_wait(f"MAIL FROM:<{sender}>\r\n{rest}")
    assert "250 2.0.0" in output, output
    return place.store.added[-1].content.first(10_000)


def test_fail_is_refused_and_recorded_with_its_reason(checking: Place, running: Running) -> None:
    async def run() -> None:
        client = client_of(checking)
        answer = await mail_from(client, "a@fail.test")
        assert answer.startswith("550 5.7.23 ")
        assert answer.endswith(": matched all\r\n")
        assert "503" in client.say("RCPT TO:<user@d1.test>\r\n")
        (refusal,) = [event for event in checking.events if isinstance(event, Rejected)][:1]
        assert (refusal.code, refusal.reverse_path) == (550, "a@fail.test")
        assert "matched all" in refusal.reason
        assert (await mail_from(client, "a@pass.test")).startswith("250")

    running(run())


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        pytest.param("a@pass.test", "pass (matched ip)", id="pass"),
        pytest.param("a@soft.test", "softfail (matched all)", id="softfail"),
        pytest.param("a@none.test", "none (no DNS record found)", id="none"),
        pytest.param("a@bad.test", "permerror (", id="permerror"),
    ],
)
def test_all_else_is_accepted_and_told(
    checking: Place, running: Running, sender: str, expected: str
) -> None:
    async def run() -> None:
        content = await stored(checking, client_of(checking), sender)
        results, spf, identity, dkim, received, trace = content.decode().split("\r\n", 6)[:6]
        assert results == "Authentication-Results: mx.test"
        assert spf.startswith(f"\t;spf={expected}")
        assert identity == "\t smtp.mailfrom=" + sender.partition("@")[2]
        assert dkim == "\t;dkim=none"
        assert received.startswith(f"Received-SPF: {expected}")
        assert trace.startswith("Received: from cli ([192.0.2.7])")

    running(run())


def test_a_domain_may_explain_its_refusal(checking: Place, running: Running) -> None:
    checking.names.records |= {
        "told.test": "v=spf1 exp=why.told.test -all",
        "why.told.test": "Ask %{d}" + "!" * 400,
    }

    async def run() -> None:
        answer = await mail_from(client_of(checking), "a@told.test")
        assert ": matched all; told.test says: Ask told.test!!" in answer
        assert len(answer) <= 512

    running(run())


def test_the_name_from_ehlo_is_checked_beside_the_sender(checking: Place, running: Running) -> None:
    checking.names.records["mail.pass.test"] = FAIL

    async def run() -> None:
        client = checking.connect()
        client.say("EHLO mail.pass.test\r\n")
        content = await stored(checking, client, "a@pass.test")
        assert (
            b"\t;spf=pass (matched ip)\r\n\t smtp.mailfrom=pass.test\r\n"
            b"\t;spf=fail (matched all)\r\n\t smtp.helo=mail.pass.test\r\n"
        ) in content

    running(run())


def test_the_null_reverse_path_is_checked_by_the_name_from_ehlo(
    checking: Place, running: Running
) -> None:
    checking.names.records |= {"good.test": PASS, "forged.test": FAIL}

    async def run() -> None:
        client = checking.connect()
        client.say("EHLO good.test\r\n")
        content = await stored(checking, client, "")
        assert b"\t;spf=pass (matched ip)\r\n\t smtp.helo=good.test\r\n" in content
        assert checking.store.levels == {}
        client.say("EHLO forged.test\r\n")
        assert (await mail_from(client, "")).startswith("550 5.7.23")
        checking.set("spf", check_helo=False)
        assert b"spf=" not in await stored(checking, client_of(checking), "")

    running(run())


def test_trouble_with_dns_refuses_nobody(checking: Place, running: Running) -> None:
    async def run() -> None:
        checking.names.is_down = True
        content = await stored(checking, client_of(checking), "a@fail.test")
        assert b"Received-SPF: temperror (" in content

    running(run())


def test_a_check_ends_with_its_time(checking: Place, running: Running) -> None:
    async def run() -> None:
        checking.names.gate = asyncio.Event()
        checking.set("spf", timeout=timedelta(milliseconds=10))
        client = client_of(checking)
        client.heard()
        client.say("MAIL FROM:<a@fail.test>\r\n")
        check = client.connection._task
        assert check is not None
        await check
        assert client.heard().startswith("250")

    running(run())


def test_nothing_is_answered_before_spf_is_known(checking: Place, running: Running) -> None:
    async def run() -> None:
        gate = checking.names.gate = asyncio.Event()
        client = client_of(checking)
        client.heard()
        assert await mail_from(client, "a@pass.test") == ""
        assert client.say("RCPT TO:<user@d1.test>\r\n") == ""
        gate.set()
        await settle()
        assert [line[:9] for line in client.heard().splitlines()] == ["250 2.1.0", "250 2.1.5"]

    running(run())


def test_a_client_that_leaves_meanwhile_leaves_nothing(checking: Place, running: Running) -> None:
    async def run() -> None:
        gate = checking.names.gate = asyncio.Event()
        client = client_of(checking)
        client.heard()
        await mail_from(client, "a@fail.test")
        client.connection.connection_lost(None)
        gate.set()
        await settle()
        assert client.heard() == ""

    running(run())


def test_the_result_goes_with_its_transaction(checking: Place, running: Running) -> None:
    async def run() -> None:
        client = client_of(checking)
        await mail_from(client, "a@pass.test")
        content = await stored(checking, client, "a@soft.test")
        assert b"spf=pass" not in content
        assert b"pass" not in await stored(checking, client, "")

    running(run())


def test_reject_fail_can_be_switched_off(checking: Place, running: Running) -> None:
    async def run() -> None:
        checking.set("spf", reject_fail=False)
        content = await stored(checking, client_of(checking), "a@fail.test")
        assert b"Received-SPF: fail (matched all)\r\n" in content

    running(run())


def test_who_logged_in_is_not_asked_about(checking: Place, running: Running) -> None:
    async def run() -> None:
        client = client_of(checking)
        login(client)
        content = await stored(checking, client, "a@fail.test")
        assert checking.names.asked == []
        assert content.startswith(b"Received: from cli\r\n")

    running(run())


def login(client: Client) -> None:
    """As if AUTH had succeeded; it needs TLS, which these connections have not."""
    client.connection._dialogue._login.identity = "user@d1.test"


@pytest.mark.parametrize(
    ("networks", "ip", "sender", "expected"),
    [
        pytest.param(("127.0.0.0/8",), "192.0.2.7", "a@b.test", True, id="elsewhere"),
        pytest.param(("127.0.0.0/8",), "127.9.9.9", "a@b.test", False, id="within"),
        pytest.param(("127.0.0.0/8",), "::ffff:127.0.0.1", "a@b.test", False, id="mapped"),
        pytest.param(("::1/128",), "::1", "a@b.test", False, id="v6"),
        pytest.param(("fe80::/10",), "fe80::1%eth0", "a@b.test", False, id="zone"),
        pytest.param(("fe80::/10",), "127.0.0.1", "a@b.test", True, id="other-family"),
        pytest.param((), "127.0.0.1", "a@b.test", True, id="no-networks"),
        pytest.param((), "127.0.0.1", None, True, id="null-reverse-path"),
        pytest.param(("0.0.0.0/0",), "", "a@b.test", True, id="no-address"),
    ],
)
def test_who_is_to_be_checked(
    checking: Place, networks: tuple[str, ...], ip: str, sender: str | None, expected: bool
) -> None:
    checking.set("spf", skip_networks=networks)
    reverse_path = parse_address(sender) if sender else NULL
    assert is_to_be_checked(checking.config, reverse_path)
    assert is_outside(checking.config, ip) is expected
    checking.set("spf", check_helo=False)
    assert is_to_be_checked(checking.config, reverse_path) is not reverse_path.is_null
    checking.set("spf", check=False)
    assert not is_to_be_checked(checking.config, reverse_path)


def on_tls(client: Client) -> Client:
    client.connection.tls_version = "TLS-1.3"
    return client


def test_clear_text_after_tls_is_refused(checking: Place, running: Running) -> None:
    async def run() -> None:
        assert (await mail_from(client_of(checking), "a@pass.test")).startswith("250")
        assert (await mail_from(on_tls(client_of(checking)), "a@PASS.test")).startswith("250")
        assert checking.store.levels == {"pass.test": SecurityLevel.TLS_CLIENT}
        client = client_of(checking)
        assert (await mail_from(client, "b@Pass.Test")).startswith("550 5.7.3 ")
        assert "503" in client.say("RCPT TO:<user@d1.test>\r\n")

    running(run())


@pytest.mark.parametrize(
    ("settings", "sender"),
    [
        pytest.param({}, "a@soft.test", id="without-a-pass"),
        pytest.param({"remember_tls": False}, "a@pass.test", id="switched-off"),
    ],
)
def test_the_level_is_left_alone(
    checking: Place, running: Running, settings: dict[str, Any], sender: str
) -> None:
    async def run() -> None:
        checking.set("spf", **settings)
        await mail_from(on_tls(client_of(checking)), sender)
        assert checking.store.levels == {}
        assert (await mail_from(client_of(checking), sender)).startswith("250")

    running(run())


def test_a_level_that_cannot_be_told_is_451(checking: Place, running: Running) -> None:
    async def run() -> None:
        checking.store.failure = StoreFailed("disk full: /secret/path")
        answer = await mail_from(client_of(checking), "a@pass.test")
        assert answer.startswith("451 4.3.0")
        assert "secret" not in answer

    running(run())


def test_forged_results_of_ours_are_removed(checking: Place, running: Running) -> None:
    forged = (
        "AUTHENTICATION-results: MX.test;\r\n\tspf=pass\r\nA: b\r\n"
        "Authentication-Results: other.test; dkim=pass\r\n\r\n"
        "Authentication-Results: mx.test; spf=pass\r\n"
    )
    rest = f"RCPT TO:<user@d1.test>\r\nDATA\r\n{forged}.\r\n"

    async def run() -> None:
        content = await stored(checking, client_of(checking), "a@soft.test", rest)
        head, _, body = content.partition(b"\r\n\r\n")
        assert head.lower().count(b"authentication-results: mx.test") == 1
        assert b"\r\nA: b\r\nAuthentication-Results: other.test; dkim=pass" in head
        assert body == b"Authentication-Results: mx.test; spf=pass\r\n"
        client = client_of(checking)
        login(client)
        content = await stored(checking, client, "user@d1.test", rest)
        assert b"mx.test;" not in content.partition(b"\r\n\r\n")[0]

    running(run())


def test_without_any_check_the_results_say_so(place: Place, running: Running) -> None:
    async def run() -> None:
        place.set("dkim", verify=False)
        place.set("arc", validate=False)
        content = await stored(place, client_of(place), "a@pass.test")
        assert content.startswith(b"Authentication-Results: mx.test\r\n\t;none\r\nReceived: ")

    running(run())
