"""Listening sockets: our own, or systemd's by name (sd_listen_fds(3)).

The supervisor opens them before it forks; workers accept on the same sockets.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.reception import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from relevo.config import Config

logger = logging.getLogger("relevo.supervisor")

_FIRST_FD = 3
_BACKLOG = 4096
SYSTEMD_NAMES = {
    "smtp": Mode.SMTP,
    "submission": Mode.SUBMISSION,
    "submission_tls": Mode.SUBMISSION_TLS,
}
_KEYS = {Mode.SMTP: "smtp", Mode.SUBMISSION: "submission", Mode.SUBMISSION_TLS: "submission_tls"}


class ListenFailed(Exception):
    """A listener cannot be opened; the text names address, key and what to do."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and what it is for."""

    mode: Mode
    socket: socket.socket

    @property
    def key(self) -> str:
        """The key below [listen]."""
        return _KEYS[self.mode]

    @property
    def address(self) -> str:
        """`host:port`, with brackets round IPv6."""
        name = self.socket.getsockname()
        if not isinstance(name, tuple):
            return str(name)
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_listeners(config: Config, environ: MutableMapping[str, str]) -> list[Listener]:
    """All listeners of the configuration. Raises ListenFailed; then none is left open."""
    passed = _systemd_sockets(environ)
    opened: list[Listener] = []
    missing: list[str] = []
    try:
        for mode, key in _KEYS.items():
            for address in getattr(config.listen, key):
                if address == "systemd":
                    found = passed.pop(key, [])
                    if not found:
                        missing.append(key)
                    opened += [Listener(mode, sock) for sock in found]
                else:
                    opened += [Listener(mode, sock) for sock in _bind(address, key)]
        if not opened:
            raise ListenFailed(
                "no address to listen on: set `listen.smtp`, or start by systemd with sockets "
                "named smtp, submission, submission_tls (FileDescriptorName=)"
            )
    except ListenFailed:
        for listener in opened:
            listener.socket.close()
        raise
    finally:
        for sockets in passed.values():
            for sock in sockets:
                sock.close()
    for key in missing:
        logger.warning("listen.%s: systemd passed no socket named %s; nothing listens", key, key)
    return opened


def _systemd_sockets(environ: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """Sockets that systemd passed, by name; the variables are removed. Raises ListenFailed."""
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "")
    if not count:
        return {}
    if pid != str(os.getpid()):
        raise ListenFailed(f"systemd's sockets are for process {pid}, and this is {os.getpid()}")
    listed = names.split(":") if names else []
    if len(listed) != int(count):
        raise ListenFailed(
            f"systemd passed {count} sockets and {len(listed)} names: "
            "set FileDescriptorName= in each .socket unit"
        )
    found: dict[str, list[socket.socket]] = {}
    for offset, name in enumerate(listed):
        sock = socket.socket(fileno=_FIRST_FD + offset)
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)
        found.setdefault(name, []).append(sock)
    return found


def _bind(address: str, key: str) -> Iterator[socket.socket]:
    """Sockets for `host:port`, `:port` (all addresses, IPv6 and IPv4) or `[v6]:port`."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        infos = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenFailed(f"listen.{key}: cannot resolve {address!r}: {error.strerror}") from error
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, sockaddr in dict.fromkeys(infos):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                if len(infos) > 1:
                    continue  # a kernel without IPv6
                raise
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.append(sock)
            sock.bind(sockaddr)
            sock.listen(_BACKLOG)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise ListenFailed(_explain(address, key, error)) from error
    yield from bound


def _explain(address: str, key: str, error: OSError) -> str:
    port = address.rpartition(":")[2]
    if isinstance(error, PermissionError):
        return f"listen.{key}: port {port} needs root or CAP_NET_BIND_SERVICE ({address})"
    return (
        f"listen.{key}: cannot listen on {address}: {os.strerror(error.errno or 0)} (port {port})"
    )
