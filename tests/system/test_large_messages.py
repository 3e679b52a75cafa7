"""Messages of 50 MB: they arrive whole, and neither the loop nor the memory suffers."""

from __future__ import annotations

import hashlib
import time

import pytest

from harness.load import (
    MIB,
    Latencies,
    large_message,
    measure,
    proportional_set_size,
    start_sender,
)
from harness.maildir import split_trace
from harness.server import RelevoFactory
from harness.waiting import wait_for

LARGE = 49 * MIB
LONGEST_CALLBACK_S = 0.020
EXTRA_MEMORY = 64 * MIB


def test_a_message_of_50_mb_arrives_octet_for_octet(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    sender = start_sender(
        server.reaper,
        server.smtp,
        log=server.config.path / "sender.log",
        size=LARGE,
        count=1,
        recipient="user@d1.test",
    )
    assert sender.wait(60) == 0, sender.output()
    assert sender.output().startswith("250 "), sender.output()
    [path] = wait_for(server.config.mailbox("user@d1.test").files, timeout_s=30)
    _, content = split_trace(path.read_bytes())
    sent = large_message(LARGE).replace(b"\r\n", b"\n")
    assert hashlib.sha256(content).digest() == hashlib.sha256(sent).digest()


@pytest.mark.alone
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_the_loop_is_never_held_while_large_messages_arrive(
    start_relevo: RelevoFactory, is_tls: bool
) -> None:
    server = start_relevo(settings={"server.workers": 1, "delivery.local": "discard"})
    folder = server.config.path
    senders = [
        start_sender(
            server.reaper,
            server.smtp,
            log=folder / f"sender-{number}.log",
            size=LARGE,
            count=1000,
            recipient="user@d1.test",
            is_tls=is_tls,
        )
        for number in range(2)
    ]
    wait_for(lambda: all(each.output() for each in senders), timeout_s=60, what="first messages")
    measured = measure(server.reaper, server.smtp, log=folder / "echo.log", seconds=10)
    print(measured)
    accepted = [line.split()[0] for each in senders for line in each.output().splitlines()]
    assert all(each.is_running() for each in senders), [each.output() for each in senders]
    for each in senders:
        each.kill()
    assert len(accepted) >= 8, "too little load to mean anything"
    assert set(accepted) == {"250"}
    noise = max(measured.echo)
    assert max(measured.noop) <= LONGEST_CALLBACK_S + noise, str(measured)
    assert Latencies.percentile(measured.noop, 0.99) <= LONGEST_CALLBACK_S, str(measured)


@pytest.mark.alone
def test_memory_stays_bounded_while_large_messages_arrive(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.workers": 1})
    with server.dialog():
        idle = proportional_set_size(server.process.pid)
    senders = [
        start_sender(
            server.reaper,
            server.smtp,
            log=server.config.path / f"sender-{number}.log",
            size=LARGE,
            count=2,
            recipient=recipient,
        )
        for number, recipient in enumerate(["user@d1.test", "juan@d1.test", "rx@d1.test"] * 2)
    ]
    peak = idle
    while any(each.is_running() for each in senders):
        peak = max(peak, proportional_set_size(server.process.pid))
        time.sleep(0.05)  # a sample now and then
    assert [each.output().count("250 ") for each in senders] == [2] * len(senders)
    print(f"idle {idle / MIB:.1f} MiB, peak {peak / MIB:.1f} MiB")
    assert peak <= idle + EXTRA_MEMORY


def test_one_octet_over_the_limit_is_refused_and_the_session_goes_on(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo(settings={"smtp.max_message_size": MIB})
    content = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n"
    fits = content + b"y" * (MIB - len(content) - len(b"\r\n.\r\n")) + b"\r\n"
    with server.dialog() as client:
        client.envelope("a@r.test", "user@d1.test")
        assert client.message(fits).code == 250
        client.envelope("a@r.test", "user@d1.test")
        reply = client.message(fits[:-2] + b"y\r\n")
        assert str(reply).startswith("552 5.3.4"), reply
        client.envelope("a@r.test", "user@d1.test")
        assert client.message(b"Subject: small\r\n\r\nx\r\n").code == 250
    server.config.mailbox("user@d1.test").wait(2)
