"""Listening addresses: `host:port`, `:port`, `[v6]:port`, or `systemd`."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

SYSTEMD = "systemd"
"""Instead of an address: the sockets that systemd passes under the list's name."""

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_HINT = 'write "host:port", ":port" for every interface, "[v6]:port" or "systemd"'


class BadListenAddress(ValueError):
    """Not a listening address; `hint` says how to write one."""

    def __init__(self, text: str, hint: str = _HINT) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen.

    `host` is without brackets; "" is every interface, IPv4 and IPv6. Port 0 is any free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress | None:
    """The address that `text` names, None for `systemd`; raises BadListenAddress.

    A port may be a service name of this system, as in `localhost:smtp`.
    """
    if text == SYSTEMD:
        return None
    if not text:
        raise BadListenAddress("an empty listening address", "to not listen, remove it")
    host, colon, port = text.rpartition(":")
    if not colon:
        raise BadListenAddress(f"{text!r} has no port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        _check_v6(text, host)
    elif ":" in host:
        raise BadListenAddress(f"{text!r} is an IPv6 address without brackets")
    elif host and not _HOST.fullmatch(host):
        raise BadListenAddress(f"{host!r} is neither an address nor a host name")
    return ListenAddress(host, _port(text, port))


def _check_v6(text: str, host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError as error:
        raise BadListenAddress(f"{text!r} has no IPv6 address in its brackets") from error


def _port(text: str, port: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535:
        return int(port)
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,14}", port):
        try:
            return socket.getservbyname(port, "tcp")
        except OSError as error:
            raise BadListenAddress(f"{text!r}: no service is called {port!r} here") from error
    raise BadListenAddress(f"{text!r} has no port from 0 to 65535")
