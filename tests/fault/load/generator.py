"""The load as tests see it: a process that sends, and its ledger."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from fault.load.ledger import Ledger, LedgerReader
from harness.processes import Process, Reaper
from harness.waiting import wait_for

CLIENT = Path(__file__).with_name("client.py")
FINISH_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 60.0


class Generator:
    """Sends until it is told to stop."""

    def __init__(
        self,
        reaper: Reaper,
        *,
        listeners: Path,
        ledger: Path,
        run: str,
        mix: str,
        sessions: int = 30,
        rate: float = 0.0,
        count: int = -1,
    ) -> None:
        self._reader = LedgerReader(ledger)
        self._process: Process = reaper.start(
            [
                *(sys.executable, CLIENT, "--listeners", listeners, "--ledger", ledger),
                *("--run", run, "--mix", mix, "--sessions", str(sessions)),
                *("--rate", str(rate), "--count", str(count)),
            ],
            log=ledger.with_suffix(".log"),
        )

    @property
    def ledger(self) -> Ledger:
        """What the client knows by now."""
        return self._reader.refresh()

    @property
    def answered(self) -> int:
        return len(self.ledger.accepted)

    @property
    def refused(self) -> int:
        return self.ledger.refused

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.is_running()

    def output(self) -> str:
        return self._process.output()

    def wait_for_refusals(self, count: int) -> None:
        """Until so many messages more are refused."""
        before = self.refused
        wait_for(
            lambda: self.refused >= before + count,
            timeout_s=ANSWER_TIMEOUT_S,
            what=f"{count} more refusals ({self.refused - before} came)",
        )

    def wait_for_answers(self, count: int) -> float:
        """Until so many messages more are answered; how many a second that were."""
        before, started = self.answered, time.monotonic()
        wait_for(
            lambda: self.answered >= before + count or not self._process.is_running(),
            timeout_s=ANSWER_TIMEOUT_S,
            what=f"{count} more answers ({self.answered - before} came)",
        )
        assert self._process.is_running(), self._process.output()
        return (self.answered - before) / (time.monotonic() - started)

    def finish(self) -> Ledger:
        """Let it send what it has begun, until all is answered; the whole ledger."""
        self._process.send(signal.SIGTERM)
        return self.wait()

    def wait(self) -> Ledger:
        """Until it has sent what it should; the whole ledger."""
        status = self._process.wait(FINISH_TIMEOUT_S)
        assert status == 0, self._process.output()
        return self.ledger
