"""DNS lists, with a name server of the test: what is asked, and what its answers mean."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from relevo.hook.ready.dns_lists import ListFailed, connect, mail, rcpt
from relevo.hook.testing import RunHook

RECORDS = {
    "7.2.0.192.block.test.": "127.0.0.2",
    "8.2.0.192.block.test.": "127.0.0.10",
    "9.2.0.192.block.test.": "127.255.255.254",
    "10.2.0.192.block.test.": "93.184.216.34",
    "7.2.0.192.allow.test.": "127.0.0.3",
    "spam.example.names.test.": "127.0.1.2",
    f"{'.'.join(reversed('20010db8' + '0' * 23 + '7'))}.block.test.": "127.0.0.2",
}


@pytest.fixture(scope="module")
def name_server() -> Iterator[str]:
    """Answers from the table; to names of broken.test it says SERVFAIL."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        is_over = threading.Event()

        def serve() -> None:
            while not is_over.is_set():
                with suppress(TimeoutError):
                    octets, client = server.recvfrom(4096)
                    server.sendto(answer(octets), client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        is_over.set()
        thread.join()


def answer(octets: bytes) -> bytes:
    query = dns.message.from_wire(octets)
    name = query.question[0].name
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    if name.to_text().endswith("broken.test."):
        response.set_rcode(dns.rcode.SERVFAIL)
    elif (address := RECORDS.get(name.to_text())) is not None:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
    else:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()


BLOCK = {"zone": "block.test"}
ALLOW = {"zone": "allow.test", "kind": "allow"}
BROKEN = {"zone": "broken.test"}
NAMES = {"zone": "names.test", "of": "sender"}


@pytest.mark.parametrize(
    ("zones", "ip", "verdict"),
    [
        pytest.param([BLOCK], "192.0.2.7", "reject", id="listed"),
        pytest.param([BLOCK], "192.0.2.1", "accept", id="not-listed"),
        pytest.param([BLOCK], "2001:db8::7", "reject", id="ipv6"),
        pytest.param([BLOCK], "192.0.2.10", "accept", id="an-answer-that-is-no-code"),
        pytest.param([BLOCK | {"answers": ["127.0.0.8/29"]}], "192.0.2.7", "accept", id="codes"),
        pytest.param([BLOCK | {"answers": ["127.0.0.8/29"]}], "192.0.2.8", "reject", id="codes-2"),
        pytest.param([BLOCK, ALLOW], "192.0.2.7", "accept", id="allowed"),
        pytest.param([BROKEN, BLOCK], "192.0.2.7", "reject", id="another-decides"),
        pytest.param([BROKEN, BLOCK, ALLOW], "192.0.2.7", "accept", id="another-allows"),
        pytest.param([NAMES], "192.0.2.7", "accept", id="no-sender-yet"),
    ],
)
def test_at_connect(
    run_hook: RunHook, name_server: str, zones: list[dict[str, object]], ip: str, verdict: str
) -> None:
    settings = {"zones": zones, "servers": [name_server]}
    assert run_hook(connect, settings=settings, client={"ip": ip}).verdict == verdict


@pytest.mark.parametrize("zones", [[BROKEN], [BROKEN, BLOCK], [BLOCK | {"zone": "block.test"}]])
def test_a_list_that_does_not_serve_us_is_a_failure(
    run_hook: RunHook, name_server: str, zones: list[dict[str, object]]
) -> None:
    ip = "192.0.2.1" if BROKEN in zones else "192.0.2.9"
    with pytest.raises(ListFailed, match="no answer from"):
        run_hook(connect, settings={"zones": zones, "servers": [name_server]}, client={"ip": ip})


def test_nobody_answers(run_hook: RunHook) -> None:
    settings = {"zones": [BLOCK], "servers": ["127.0.0.1:1"], "timeout": 0.3}
    with pytest.raises(ListFailed, match=r"no answer from block\.test"):
        run_hook(connect, settings=settings)


@pytest.mark.parametrize(
    ("sender", "verdict"),
    [
        ("a@spam.example", "reject"),
        ("a@ham.example", "accept"),
        ("<>", "accept"),
        (f"a@{'x' * 70}.example", "accept"),
        ("a@..", "accept"),
    ],
)
def test_the_sender_s_domain(
    run_hook: RunHook, name_server: str, sender: str, verdict: str
) -> None:
    settings = {"zones": [NAMES | {"text": "We do not know you"}], "servers": [name_server]}
    for stage in (mail, rcpt):
        said = run_hook(stage, settings=settings, reverse_path=sender)
        assert said.verdict == verdict
        assert said.text == ("We do not know you" if verdict == "reject" else "")


def test_who_has_logged_in_is_let_in(run_hook: RunHook, name_server: str) -> None:
    settings = {"zones": [BLOCK], "servers": [name_server]}
    assert run_hook(rcpt, settings=settings, client={"ip": "192.0.2.7"}).verdict == "reject"
    said = run_hook(rcpt, settings=settings, client={"ip": "192.0.2.7"}, auth="joe@x.y")
    assert said.verdict == "accept"
