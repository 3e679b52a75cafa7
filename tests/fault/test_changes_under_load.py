"""Reloads, new certificates and restarts while clients come and go: nobody notices."""

from __future__ import annotations

import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fault.form import FORM
from harness.certificates import write_certificate
from harness.config_dir import standard_settings
from harness.dialog import Dialog
from harness.processes import Process
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.sessions import RECIPIENT, Sessions
from harness.waiting import wait_for
from relevo.service.control import ask

MESSAGES_BETWEEN = 20


@contextmanager
def undisturbed(server: RelevoServer) -> Iterator[Sessions]:
    """Sessions none of which fails, and whose messages are all delivered."""
    with Sessions(lambda: server.smtp) as sessions:
        sessions.wait_for_more(MESSAGES_BETWEEN)
        yield sessions
        sessions.wait_for_more(MESSAGES_BETWEEN)
    assert sessions.failures == []
    mailbox = server.config.path / "mail" / "d1.test" / "user"
    wait_for(lambda: not sessions.lost(mailbox), timeout_s=30, what="all deliveries")


@pytest.mark.timeout(FORM.timeout_s)
def test_no_session_fails_by_a_reload(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"limits.connections_per_source": 100})
    with undisturbed(server) as sessions:
        for number in range(FORM.reloads):
            if number % 2:
                server.reload()
            else:
                assert ask(server.config.data, "reload")["problems"] == []
            sessions.wait_for_more(MESSAGES_BETWEEN)
    assert "ERROR" not in server.process.output()


@pytest.mark.timeout(FORM.timeout_s)
def test_no_session_fails_by_a_new_certificate(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"reload.interval": "200ms"})
    with undisturbed(server):
        for _ in range(FORM.certificates):
            chain = write_certificate(server.config.chain.parent, "mx.test").read_text()
            for _ in range(4):  # each worker
                wait_for_certificate(server, chain.strip())


def wait_for_certificate(server: RelevoServer, chain: str) -> None:
    wait_for(lambda: presented(server) == chain, what="the new certificate")


def presented(server: RelevoServer) -> str:
    with Dialog(server.submission_tls, tls=True) as client:
        octets = client.tls_socket.getpeercert(binary_form=True)
    assert octets is not None
    return ssl.DER_cert_to_PEM_cert(octets).strip()


def restart(server: RelevoServer) -> Process:
    path = server.config.path
    return run_relevo(server.reaper, "restart", "--config-dir", path, folder=path)


@pytest.mark.timeout(FORM.timeout_s)
def test_no_session_fails_by_a_restart(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    old = server.workers()
    with undisturbed(server) as sessions:
        for number in range(FORM.restarts):
            if number % 2:
                before = started(server)
                server.process.send(signal.SIGUSR2)
                wait_until_restarted(server, before)
            else:
                process = restart(server)
                assert process.popen.returncode == 0, process.output()
            sessions.wait_for_more(MESSAGES_BETWEEN)
    assert server.process.is_running(), "its process goes on"
    assert not old & server.workers()


def wait_until_restarted(server: RelevoServer, before: float) -> None:
    wait_for(lambda: started(server) != before, timeout_s=60, what="the restart")


def started(server: RelevoServer) -> float:
    return float(ask(server.config.data, "status", patience=30)["started"])


def test_a_restart_that_would_fail_changes_nothing_and_says_why(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    workers = server.workers()
    chain = server.config.chain.read_text()
    server.config.chain.write_text("no certificate")
    process = restart(server)
    assert process.popen.returncode == 3
    assert str(server.config.chain) in process.output()
    server.wait_for_log("restart refused")
    server.config.chain.write_text(chain)
    assert server.workers() == workers
    assert restart(server).popen.returncode == 0


def test_a_restart_takes_up_what_a_reload_cannot(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.workers": 1})
    smtp = server.smtp
    server.config.write_settings(
        {
            **standard_settings(server.config.path),
            "server.workers": 3,
            "listen.submission": [],
            "listen.monitoring": "127.0.0.1:0",
        }
    )
    process = restart(server)
    assert process.popen.returncode == 0, process.output()
    assert len(server.workers()) == 3
    listeners = ask(server.config.data, "status")["listeners"]
    assert listeners["smtp"] == [str(smtp)]
    assert len(listeners["monitoring"]) == 1
    with pytest.raises(ConnectionRefusedError):
        Dialog(server.submission)


def test_a_long_transaction_ends_before_the_restart_and_who_comes_meanwhile_waits(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo(settings={"server.grace": "30s"})
    with server.dialog() as client:
        client.envelope("a@r.test", RECIPIENT)
        client.expect(354, "DATA")
        before = started(server)
        server.process.send(signal.SIGUSR2)
        server.wait_for_log("as soon as open transactions have ended")
        with Sessions(lambda: server.smtp, clients=2) as sessions:
            time.sleep(0.5)  # nothing may happen meanwhile
            assert ask(server.config.data, "status")["phase"] == "restarting"
            client.send(b"Subject: long\r\n\r\nx\r\n.\r\n")
            assert client.reply().code == 250
            sessions.wait_for_more(4)
    assert sessions.failures == []
    assert started(server) > before


def test_a_stop_comes_before_a_restart(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.grace": "1s"})
    with server.dialog() as client:
        client.envelope("a@r.test", RECIPIENT)
        client.expect(354, "DATA")
        server.process.send(signal.SIGUSR2)
        server.wait_for_log("as soon as open transactions have ended")
        assert server.stop() == 0
    assert "restarting now" not in server.process.output()
