"""Pages with commands do what they say: their own blocks are run, in order, in a fresh folder.

A block `sh server` is a server in the first terminal: it ends where the next one starts. `sh` must
end well; since mail takes a moment to arrive, a block that fails is tried again for a while.
`console` has commands and what they print, where `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.processes import Process, Reaper
from harness.server import RELEVO
from harness.waiting import WaitedInVain, wait_for
from relevo.service.listeners import SYSTEMD_NAMES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (
    "tutorial.md",
    "how-to/hooks.md",
    "how-to/mail-into-a-program.md",
    "tutorial-spam-filter.md",
)
SYSTEMD = ROOT / "examples" / "systemd"
FENCE = re.compile(r"^```(\S+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNABLE = {"sh", "console"}
PAGE_PORTS = (2525, 5587, 4465, 8025)
NEWCOMER_S = 300  # a first hook takes less than five minutes


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of the page."""

    kind: str
    is_server: bool
    text: str


def blocks(page: str) -> Iterator[Block]:
    """What is to be run, in order."""
    for kind, role, text in FENCE.findall((DOCS / page).read_text()):
        if kind in RUNNABLE:
            yield Block(kind, role == "server", text)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]


class Terminals:
    """A newcomer with two terminals in one folder."""

    def __init__(self, reaper: Reaper, folder: Path) -> None:
        self.reaper = reaper
        self.folder = folder
        self.ports = dict(zip(PAGE_PORTS, free_ports(len(PAGE_PORTS)), strict=True))
        self.server: Process | None = None
        self.count = 0
        path = f"{RELEVO.parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"PATH": path}

    def command(self, text: str) -> str:
        """As it stands on the page, but on free ports, and with the checkout's `make run`."""
        demo = f"relevo demo --smtp-port {2525} --submission-port {5587}"
        text = text.replace("make run", f"{demo} --submission-tls-port {4465}")
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(free), text)
        return text

    def start(self, text: str, folder: Path) -> Process:
        self.count += 1
        log = folder.parent / f"terminal-{self.count}.log"
        words = ["sh", "-e", "-c", text]
        return self.reaper.start(words, log=log, cwd=folder, env=self.environment)

    def serve(self, text: str) -> None:
        """In the first terminal, after Ctrl-C for what ran there."""
        self.stop()
        server = self.start(f"exec {self.command(text)}", self.folder)
        self.server = server

        def answers() -> bool:
            assert server.is_running(), server.output()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", self.ports[2525])) == 0

        wait_for(answers, timeout_s=30, what=text)

    def stop(self) -> None:
        if self.server is not None:
            os.killpg(self.server.pid, signal.SIGINT)
            assert self.server.wait(40) == 0, self.server.output()
            assert "Traceback" not in self.server.output()

    def run(self, text: str) -> str:
        """In the second terminal; what it printed."""

        last: list[Process] = []

        def succeeds() -> Process | None:
            last[:] = [self.start(self.command(text), self.folder)]
            return last[0] if last[0].wait(30) == 0 else None

        try:
            return wait_for(succeeds, timeout_s=10, what=text).output()
        except WaitedInVain as error:
            raise AssertionError(f"{error}, which printed:\n{last[0].output()}") from error


def check_console(terminals: Terminals, text: str) -> None:
    """Each command of the block prints what stands below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        pattern = ".*".join(map(re.escape, expected.split("…")))
        printed = terminals.run(command)
        assert re.fullmatch(pattern, printed, re.DOTALL), f"{command} printed:\n{printed}"


@pytest.mark.needs_debian("curl", "openssl")
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_work(reaper: Reaper, tmp_path: Path, page: str) -> None:
    folder = tmp_path / "newcomer"
    shutil.copytree(ROOT / "examples", folder / "examples")
    terminals = Terminals(reaper, folder)
    started = time.monotonic()
    for block in blocks(page):
        if block.is_server:
            terminals.serve(block.text)
        elif block.kind == "console":
            check_console(terminals, block.text)
        else:
            terminals.run(block.text)
    assert time.monotonic() - started < NEWCOMER_S
    terminals.stop()


@pytest.mark.parametrize(
    ("page", "servers", "least"),
    [(PAGES[0], 2, 10), (PAGES[1], 1, 6), (PAGES[2], 1, 4), (PAGES[3], 1, 10)],
)
def test_the_pages_have_blocks_to_run(page: str, servers: int, least: int) -> None:
    found = list(blocks(page))
    assert sum(block.is_server for block in found) == servers
    assert len(found) >= least


def test_the_example_units_pass_sockets_by_the_names_that_relevo_takes() -> None:
    texts = [path.read_text() for path in sorted(SYSTEMD.glob("*.socket"))]
    names = {re.findall(r"^FileDescriptorName=(.+)$", text, re.MULTILINE)[0] for text in texts}
    assert names == set(SYSTEMD_NAMES)
    service = (SYSTEMD / "relevo.service").read_text()
    for path in SYSTEMD.glob("*.socket"):
        assert path.name in service
        assert "Service=relevo.service" in path.read_text()
