"""Which name servers are asked, and which of them may vouch by the AD flag.

A stub resolver sees DNSSEC only as the AD flag of a server's answer (RFC 6840 §5.8), so it believes
it only of servers on this machine, and of those that the operator named for relevo itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")
MAX_SERVERS = 8


class BadServer(ValueError):
    """Not the address of a name server."""


@dataclass(frozen=True, slots=True)
class NameServer:
    """A recursive name server; `host` is an IP address."""

    host: str
    port: int = PORT
    is_trusted: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_server(text: str, *, is_trusted: bool = True) -> NameServer:
    """The server that `1.2.3.4`, `1.2.3.4:5353`, `2001:db8::1` or `[2001:db8::1]:53` names.

    Raises BadServer.
    """
    host, port = text, str(PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadServer(f"{text!r} is not the address of a name server")
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ip_address(host.partition("%")[0])
    except ValueError as error:
        raise BadServer(f"{host!r} is not an IP address") from error
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
        raise BadServer(f"{port!r} is not a port from 1 to 65535")
    return NameServer(host, int(port), is_trusted)


def system_servers(path: Path = RESOLV_CONF) -> tuple[NameServer, ...]:
    """The `nameserver` lines of resolv.conf(5); as libc does, 127.0.0.1 when there are none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        text = ""
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            server = parse_server(words[1], is_trusted=False)
        except BadServer:
            continue  # the next one may do; libc ignores such lines too
        is_local = ip_address(server.host.partition("%")[0]).is_loopback
        servers.append(NameServer(server.host, server.port, is_trusted=is_local))
    return tuple(servers[:MAX_SERVERS]) or (NameServer("127.0.0.1", is_trusted=True),)
