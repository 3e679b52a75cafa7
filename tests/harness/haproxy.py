"""HAProxy from Debian, in front of listeners."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.debian import program
from harness.processes import Process, Reaper
from harness.waiting import wait_for

SOURCE = "127.0.0.3"
"""The address that HAProxy connects from; clients come from 127.0.0.1."""

# %s: where its own socket is
_GLOBAL = """\
global
    stats socket %s level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """A listener behind HAProxy, and more options of its `server` line."""

    address: tuple[str, int]
    options: str


class HaProxy:
    """A running HAProxy with one frontend for each listener."""

    def __init__(
        self, process: Process, control: Path, frontends: Mapping[str, tuple[str, int]]
    ) -> None:
        self.process = process
        self.frontends = frontends
        self._control = control

    def output(self) -> str:
        return self.process.output()

    def check_results(self) -> dict[str, str]:
        """What its last health check of each listener said: `L7OK` is a good one."""
        rows = [line.split(",") for line in self.ask("show stat").splitlines() if "," in line]
        column = rows[0].index("check_status")
        return {row[0]: row[column] for row in rows if row[1] == "relevo"}

    def ask(self, command: str) -> str:
        """A command on its own socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self._control))
            control.sendall(command.encode() + b"\n")
            answer = b""
            while data := control.recv(65536):
                answer += data
        return answer.decode()


@contextlib.contextmanager
def running_haproxy(
    reaper: Reaper, folder: Path, behind: Mapping[str, Behind]
) -> Iterator[HaProxy]:
    """Its sockets are bound here, so that their ports are known and nobody takes them."""
    folder.mkdir(parents=True)
    control = folder / "control"
    text = _GLOBAL % control
    with contextlib.ExitStack() as stack:
        frontends: dict[str, tuple[str, int]] = {}
        handed: list[int] = []
        for name, listener in behind.items():
            own = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            frontends[name] = ("127.0.0.1", own.getsockname()[1])
            handed.append(own.fileno())
            host, port = listener.address
            text += (
                f"frontend {name}-in\n    bind fd@{own.fileno()}\n    default_backend {name}\n"
                f"backend {name}\n    source {SOURCE}\n"
                f"    server relevo {host}:{port} {listener.options}\n"
            )
        (folder / "haproxy.cfg").write_text(text)
        process = reaper.start(
            [program("haproxy"), "-db", "-f", folder / "haproxy.cfg"],
            log=folder / "haproxy.log",
            cwd=folder,
            pass_fds=handed,
        )
        haproxy = HaProxy(process, control, frontends)
        wait_for(control.exists, what="HAProxy's own socket")
        yield haproxy
        process.stop()
