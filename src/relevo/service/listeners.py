"""Listening sockets: our own, or systemd's by name (sd_listen_fds(3)).

The supervisor opens them before it forks; workers accept on the same sockets. After a restart
those that the program before had opened for the same address are used on.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from relevo.reception import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping

    from relevo.config import Config

logger = logging.getLogger("relevo.supervisor")

_FIRST_FD = 3
_BACKLOG = 4096
_SYSTEMD = "systemd"
SYSTEMD_NAMES = {
    "smtp": Mode.SMTP,
    "submission": Mode.SUBMISSION,
    "submission_tls": Mode.SUBMISSION_TLS,
}
MONITORING = "monitoring"
"""The key and systemd's name of the sockets for monitoring."""
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
        return address_of(self.socket)


@dataclass(frozen=True, slots=True)
class OpenSockets:
    """Everything that is listened on."""

    listeners: tuple[Listener, ...]
    monitoring: tuple[socket.socket, ...]
    by_name: Mapping[str, tuple[socket.socket, ...]]
    """All of them by a key below [listen] and what it says, with a blank between."""

    def close(self) -> None:
        """In this process."""
        for listener in self.listeners:
            listener.socket.close()
        for sock in self.monitoring:
            sock.close()


def open_sockets(
    config: Config,
    environ: MutableMapping[str, str],
    held: Mapping[str, list[socket.socket]] | None = None,
) -> OpenSockets:
    """All sockets of the configuration; `held` are open already, by name as in `by_name`.

    Raises ListenFailed; then none is left open.
    """
    passed = {f"{name} {_SYSTEMD}": sockets for name, sockets in _systemd_sockets(environ).items()}
    passed.update(held or {})
    opened: list[tuple[str, socket.socket]] = []
    by_name: dict[str, tuple[socket.socket, ...]] = {}
    try:
        for key in (*SYSTEMD_NAMES, MONITORING):
            addresses = getattr(config.listen, key)
            for address in addresses if key != MONITORING else filter(None, (addresses,)):
                name = f"{key} {address}"
                found = passed.pop(name, None) or _open(address, key)
                opened += [(key, sock) for sock in found]
                by_name[name] = (*by_name.get(name, ()), *found)
        if all(key == MONITORING for key, _ in opened):
            raise ListenFailed(
                "no address to listen on: set `listen.smtp`, or start by systemd with sockets "
                "named smtp, submission, submission_tls (FileDescriptorName=)"
            )
        monitoring = tuple(sock for key, sock in opened if key == MONITORING)
        if not config.monitoring.token_file:
            _refuse_what_all_can_reach(monitoring)
    except ListenFailed:
        for _, sock in opened:
            sock.close()
        raise
    finally:
        for sockets in passed.values():
            for sock in sockets:
                sock.close()
    listeners = tuple(
        Listener(SYSTEMD_NAMES[key], sock) for key, sock in opened if key in SYSTEMD_NAMES
    )
    return OpenSockets(listeners, monitoring, by_name)


def address_of(sock: socket.socket) -> str:
    """`host:port`, with brackets round IPv6; the path of a Unix socket."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_reachable(sock: socket.socket) -> bool:
    """Whether other machines may connect."""
    name = sock.getsockname()
    return isinstance(name, tuple) and not ip_address(name[0].partition("%")[0]).is_loopback


def _open(address: str, key: str) -> list[socket.socket]:
    if address != _SYSTEMD:
        return list(_bind(address, key))
    logger.warning("listen.%s: systemd passed no socket named %s; nothing listens", key, key)
    return []


def _refuse_what_all_can_reach(sockets: Iterable[socket.socket]) -> None:
    """The configuration says so of addresses; of systemd's sockets only they themselves."""
    for sock in sockets:
        if is_reachable(sock):
            raise ListenFailed(
                f"listen.monitoring: {address_of(sock)} can be reached from other machines, and "
                "there is no token: set monitoring.token_file, or listen on 127.0.0.1"
            )


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
