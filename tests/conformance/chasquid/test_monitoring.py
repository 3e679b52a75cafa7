"""The monitoring page that chasquid's users scrape (rows C18, C19)."""

from __future__ import annotations

import http.client
import re

import pytest

from conformance.chasquid.configdir import free_address
from conformance.chasquid.conftest import StartServer
from conformance.chasquid.servers import Column, Server, Settings
from harness.waiting import wait_for

PLAIN = (
    "chasquid_smtpIn_loopsDetected",
    "chasquid_queue_putCount",
    "chasquid_queue_itemsWritten",
    "chasquid_queue_dsnQueued",
    "chasquid_sts_cache_fetches",
    "chasquid_sourceDateTimestamp",
)
Address = tuple[str, int]


@pytest.fixture
def address() -> Address:
    return free_address()


def ask(address: Address, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type, text."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read().decode()
    finally:
        connection.close()


def started(start: StartServer, address: Address, *relevo: str) -> Server:
    host, port = address
    return start(extra=f'monitoring_address: "{host}:{port}"\n', settings=Settings(relevo=relevo))


@pytest.mark.case("C18")
def test_metrics_have_chasquids_names_and_form(start: StartServer, address: Address) -> None:
    server = started(start, address)
    with server.session() as client:
        client.deliver(["user@d1.test"])
    server.config.wait_for_log("all done")
    status, content_type, text = ask(address, "/metrics")
    assert status == 200
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    values = dict(line.rsplit(" ", 1) for line in lines if line[:1] not in {"", "#"})
    for name in PLAIN:
        assert f"# HELP {name} " in text
        assert re.fullmatch(r"[-+0-9.e]+", values[name])
    assert values["chasquid_queue_putCount"] == "1"
    assert values['chasquid_smtpIn_commandCount{command="MAIL"}'] == "1"
    assert values['chasquid_smtpIn_responseCodeCount{code="354"}'] == "1"
    assert values['chasquid_smtpIn_tlsCount{status="plain"}'] == "1"
    assert values['chasquid_smtpIn_hookResults{result="post-data:skip"}'] == "1"
    assert values['chasquid_queue_deliverAttempts{recipient_type="email:local"}'] == "1"
    assert 'chasquid_smtpIn_commandCount{command="VRFY"}' not in values


@pytest.mark.case("C19")
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
def test_nobody_ends_the_server_over_http(
    start: StartServer, address: Address, method: str
) -> None:
    server = started(start, address)
    assert ask(address, "/exit", method)[0] == 404
    assert server.is_running()


@pytest.mark.case("C19")
def test_where_it_is_allowed_only_post_ends_the_server(
    start: StartServer, address: Address, column: Column
) -> None:
    server = started(start, address, "monitoring.allow_exit=true")
    assert ask(address, "/exit")[0] == 405
    assert server.is_running()
    status, _, text = ask(address, "/exit", "POST")
    assert (status, text.strip()) == (200, "OK exiting")
    wait_for(lambda: not server.is_running(), timeout_s=10, what="the server to end")
