"""Postfix's smtp-sink: a server that takes everything, or refuses what it is told to refuse."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.debian import program
from harness.processes import Process, Reaper
from harness.server import Address
from harness.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Sink:
    """A running smtp-sink; each transaction it took is a file in `folder`."""

    address: Address
    folder: Path
    process: Process

    def messages(self) -> list[bytes]:
        """What it took so far: its own trace lines (X-Mail-Args, X-Rcpt-Args), then the message."""
        return [path.read_bytes() for path in sorted(self.folder.iterdir())]

    def wait_for(self, count: int, timeout_s: float = 20.0) -> list[bytes]:
        """The messages, once there are so many."""
        wait_for(
            lambda: (
                sum(b"\n\n" in text or b"\r\n\r\n" in text for text in self.messages()) >= count
            ),
            timeout_s=timeout_s,
            what=f"{count} messages in {self.folder}",
        )
        return self.messages()


def free_port(*hosts: str) -> int:
    """A port that is free on all of these addresses."""
    while True:
        with socket.create_server((hosts[0], 0)) as first:
            port = int(first.getsockname()[1])
            try:
                for host in hosts[1:]:
                    family = socket.AF_INET6 if ":" in host else socket.AF_INET
                    socket.create_server((host, port), family=family).close()
            except OSError:
                continue
            return port


def start_sink(
    reaper: Reaper, folder: Path, host: str, port: int, options: Sequence[str] = ()
) -> Sink:
    """Start smtp-sink there; `options` are its own."""
    place = folder / f"sink-{host.replace(':', '_')}-{port}"
    place.mkdir()
    place.chmod(0o777)
    shown = f"[{host}]" if ":" in host else host
    process = reaper.start(
        [
            str(program("smtp-sink")), *(("-u", "root") if os.geteuid() == 0 else ()),
            "-h", "sink.test", "-d", f"{place}/%M.", *options,
            f"{'inet6' if ':' in host else 'inet'}:{shown}:{port}", "100",
        ],
        log=folder / f"{place.name}.log",
    )  # fmt: skip
    wait_for(lambda: _accepts(host, port), what="smtp-sink")
    return Sink(Address(host, port), place, process)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 0.2).close()
    except OSError:
        return False
    return True
