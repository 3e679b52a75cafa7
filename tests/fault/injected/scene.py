"""A server with a board of faults, the load that it is under, and the verdict at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from fault.injected.board import Board, Fault, Injected
from fault.load.generator import Generator
from fault.load.ledger import Ledger
from fault.load.messages import REMOTE_ROUTE
from fault.site import Site, make_site
from fault.verdict import CommandRuns, Verdict, compare
from harness.config_dir import Setting
from harness.processes import Reaper, children
from harness.waiting import wait_for
from relevo.queue import open_reader
from relevo.service.control import NotRunning, ask

PAUSE_S = 60.0  # the first retry of a message comes later than this
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Scene:
    """One server whose faults are turned on and off; loads follow one another."""

    def __init__(
        self,
        reaper: Reaper,
        path: Path,
        *,
        settings: Mapping[str, Setting] | None = None,
        board: Board | None = None,
        disk: Path | None = None,
    ) -> None:
        """`disk`: where the server has its data and mailboxes, if not below `path`."""
        self._reaper = reaper
        self._path = path
        path.mkdir(exist_ok=True)
        self.board = board or Board(path)
        self.site: Site = make_site(reaper, path / "site", settings=settings, disk=disk)
        self.site.server.variables |= self.board.variables
        self.ledger = Ledger()
        self._loads = 0

    def start(self) -> None:
        self.site.server.start()

    @contextmanager
    def load(self, *, sessions: int = 6, mix: str = "faults") -> Iterator[Generator]:
        """Mail flows while the block runs; then the client has sent all that it had begun."""
        self._loads += 1
        load = Generator(
            self._reaper,
            listeners=self.site.listeners,
            ledger=self._path / f"ledger{self._loads}",
            run=f"f{self._loads}",
            mix=mix,
            sessions=sessions,
        )
        yield load
        self.ledger.add(load.finish())

    @contextmanager
    def outage(self, load: Generator, *faults: Fault, hits: int = 1) -> Iterator[Injected]:
        """The faults hold; before they end the first of them has applied so often."""
        with self.board.inject(*faults) as injected:
            yield injected
            wait_for(
                lambda: injected.hits >= hits,
                timeout_s=20,
                what=f"{hits} times {faults[0]} ({injected.hits} came)",
            )
        assert load.is_running(), load.output()

    def deliver_all(self) -> None:
        """Try everything now that waits for its next try, until nothing of it is left."""

        def is_done() -> bool:
            if self.site.counts(soon_s=2 * 3600.0).here == 0:
                return True
            self.retry()
            return False

        wait_for(is_done, timeout_s=60, what=f"all deliveries (of {self.site.counts()})")

    def retry(self) -> None:
        """What `relevo queue retry` does."""
        with open_reader(self.site.data) as reader:
            reader.retry([one.id for one in reader.messages() if _is_for_here(one.units)])
        with suppress(NotRunning):
            ask(self.site.data, "wake")

    def verdict(self) -> Verdict:
        """Of all loads so far, when everything has been delivered; the server goes on."""
        self.deliver_all()
        return compare(
            self.ledger,
            mail=self.site.mail,
            waiting=self.site.waiting(REMOTE_ROUTE),
            commands=CommandRuns.read(self.site.pipe_log),
        )

    def suspended(self) -> list[str]:
        """What `relevo status` says of the stores of workers that take no mail."""
        return [text for text in ask(self.site.data, "status")["stores"] if text != "writable"]

    def processor_s(self) -> float:
        """Seconds that the server's processes have used of processors so far."""
        supervisor = self.site.server.process.pid
        return sum(_processor_s(pid) for pid in (supervisor, *children(supervisor)))


def _is_for_here(units: tuple[tuple[str, ...] | tuple[object, ...], ...]) -> bool:
    return any(unit[0] != REMOTE_ROUTE for unit in units)


def _processor_s(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / _TICKS_A_SECOND
