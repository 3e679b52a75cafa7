"""Which servers are asked and trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.dns.servers import BadServer, NameServer, parse_server, system_servers


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:54", "2001:db8::1", 54),
    ],
)
def test_an_address_with_or_without_port(text: str, host: str, port: int) -> None:
    server = parse_server(text)
    assert server == NameServer(host, port, is_trusted=True)
    assert parse_server(str(server)) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ns.test",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:x",
        "[::1",
        "[::1]x",
        "::1]:5",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadServer):
        parse_server(text)


def test_the_systems_servers_are_trusted_when_they_are_here(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# a comment\nsearch example.org\nnameserver 127.0.0.53\nnameserver  192.0.2.1 # far\n"
        "nameserver nonsense\nnameserver fe80::1%eth0\nnameserver\noptions edns0\n"
    )
    assert system_servers(path) == (
        NameServer("127.0.0.53", 53, is_trusted=True),
        NameServer("192.0.2.1", 53, is_trusted=False),
        NameServer("fe80::1%eth0", 53, is_trusted=False),
    )


def test_without_a_file_this_machine_is_asked(tmp_path: Path) -> None:
    assert system_servers(tmp_path / "none") == (NameServer("127.0.0.1", 53, is_trusted=True),)


def test_the_number_of_servers_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("".join(f"nameserver 192.0.2.{number}\n" for number in range(200)))
    assert len(system_servers(path)) == 8
