"""Behind a proxy that names its client by a PROXY line (rows S47–S49, H33)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.configdir import ConfigDir
from conformance.chasquid.dialogue import Client, Closed
from conformance.chasquid.hooks import Hooks
from conformance.chasquid.servers import Column, Server, running

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n"
KEY = "haproxy_incoming: true\n"


@pytest.fixture(scope="module")
def proxied(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = ConfigDir(tmp_path_factory.mktemp(f"proxied-{column.value}"), extra=KEY)
    Hooks(config.path)
    with running(Server(column, config, first=LINE)) as started:
        yield started


@pytest.mark.case("S47")
@pytest.mark.parametrize(
    ("line", "source"),
    [
        pytest.param(b"PROXY TCP6 2001:db8::7 ::1 1111 25\r\n", "2001:db8::7", id="TCP6"),
        pytest.param(b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 25\n", "1.2.3.4", id="TCP4, LF"),
    ],
)
def test_mail_log_and_received_show_the_source(proxied: Server, line: bytes, source: str) -> None:
    marker = uuid.uuid4().hex
    message = f"X-Marker: {marker}\r\n\r\nx\r\n".encode()
    with Client(proxied.config.smtp, first=line) as client:
        client.ehlo()
        client.deliver(sender=f"{marker}@pass.test", message=message)
    (delivery,) = proxied.config.wait_for_deliveries(1, marker.encode())
    header = delivery.content.partition(b"\r\n\r\n")[0]
    assert source.encode() in header
    assert b"127.0.0.1" not in header
    assert proxied.config.wait_for_log(f"from={marker}@pass.test", source)


@pytest.mark.case("S48")
@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"EHLO cli\r\n", id="no header"),
        pytest.param(b"PROXY UNKNOWN\r\n", id="unknown"),
        pytest.param(b"PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n", id="five fields"),
        pytest.param(b"PROXY TCP4 1.2.3.400 5.6.7.8 1111 25\r\n", id="bad source"),
        pytest.param(b"PROXY TCP4 1.2.3.4 5.6.7 1111 25\r\n", id="bad destination"),
        pytest.param(b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 25\r\n", id="source port"),
        pytest.param(b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 70000\r\n", id="destination port"),
    ],
)
def test_what_names_no_client_is_closed_without_a_reply(proxied: Server, first: bytes) -> None:
    with pytest.raises(Closed):
        Client(proxied.config.smtp, first=first)


@pytest.mark.case("S49")
def test_a_line_longer_than_107_octets_is_refused(proxied: Server) -> None:
    with pytest.raises(Closed):
        Client(proxied.config.smtp, first=LINE[:-2].ljust(108) + b"\r\n")


@pytest.mark.case("H33")
def test_a_hook_is_told_the_source(proxied: Server) -> None:
    hooks = Hooks(proxied.config.path)
    hooks.write("post-data", hooks.recorder)
    with proxied.session() as client:
        client.deliver()
    (call,) = hooks.calls()
    assert call.environment["REMOTE_ADDR"] == b"1.2.3.4:1111"
