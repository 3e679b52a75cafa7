"""Kills of a server under load, at random moments, and what they must not do.

A round is one server over one disk: load flows, the server is killed again and again, then the
load stops, everything that can be delivered is delivered, and the client's ledger is compared with
the mailboxes. A kill *counts* when at least 100 units were unfinished and, if asked for, the load
flowed at the least rate just before it.

Who is killed: a worker (the supervisor starts another), the whole process group (we start the
server again), or the supervisor alone (its workers must die with it; then we start it again).
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from fault.form import LEAST_UNFINISHED
from fault.load.generator import Generator
from fault.load.ledger import Ledger
from fault.load.messages import REMOTE_ROUTE
from fault.site import Site, UnitCounts
from fault.verdict import CommandRuns, Verdict, compare
from harness.waiting import wait_for

UNFINISHED_TIMEOUT_S = 60.0
LONGEST_WAIT_US = 400_000
ANSWERS_BEFORE = 20  # sessions are back,
ANSWERS_BETWEEN = 200  # and the load flows again, before the next kill
PATIENCE = 10  # times so many answers are waited for, until the load has its rate
WORKER_KILLS_IN_A_ROW = 4  # a worker that keeps dying is started later and later


class Victim(Enum):
    """Who is killed."""

    WORKER = "worker"
    TREE = "whole tree"
    SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and what was going on."""

    victim: Victim
    units: UnitCounts
    rate: float  # messages answered a second just before

    def counts(self, least_rate: float) -> bool:
        return self.units.total >= LEAST_UNFINISHED and self.rate >= least_rate


@dataclass(slots=True)
class Tally:
    """All kills of a suite."""

    kills: list[Kill] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    least_rate: float = 0.0

    @property
    def counted(self) -> list[Kill]:
        return [kill for kill in self.kills if kill.counts(self.least_rate)]

    def __str__(self) -> str:
        counted = self.counted
        if not counted:
            return f"no kill of {len(self.kills)} counts; {self.verdict}"
        by_victim = ", ".join(
            f"{sum(kill.victim is victim for kill in counted)} of the {victim.value}"
            for victim in Victim
        )
        rates = [kill.rate for kill in counted]
        units = [kill.units.total for kill in counted]
        leased = [kill.units.leased for kill in counted]
        return (
            f"{len(counted)} kills counted of {len(self.kills)} ({by_victim}); just before them "
            f"{min(rates):.0f} messages/s at least, {statistics.median(rates):.0f} in the median, "
            f"{min(units)} units unfinished at least, {statistics.median(units):.0f} in the median "
            f"({statistics.median(leased):.0f} of them being tried); {self.verdict}"
        )


class Round:
    """One server, one disk, one load."""

    def __init__(self, site: Site, load: Generator, chooser: random.Random) -> None:
        self.site = site
        self._load = load
        self._chooser = chooser
        self._worker_kills = 0

    def kill_once(self, victim: Victim | None = None, *, least_rate: float = 0.0) -> Kill:
        """Wait for load and unfinished units, then a random while, then kill."""
        self._load.wait_for_answers(ANSWERS_BEFORE)
        for _ in range(PATIENCE):
            rate = self._load.wait_for_answers(ANSWERS_BETWEEN)
            if rate >= least_rate:
                break
        units = wait_for(self._enough_units, timeout_s=UNFINISHED_TIMEOUT_S, what="100 units")
        kill = Kill(victim or self._choose(), units, rate)
        workers = wait_for(self.site.worker_pids, what="workers")
        time.sleep(self._chooser.randrange(LONGEST_WAIT_US) / 1e6)
        with self.site.pipe_log.open("a") as log:
            print("KILL", time.clock_gettime(time.CLOCK_BOOTTIME), file=log)
        self._worker_kills = self._worker_kills + 1 if kill.victim is Victim.WORKER else 0
        match kill.victim:
            case Victim.WORKER:
                with suppress(ProcessLookupError):
                    os.kill(self._chooser.choice(workers), signal.SIGKILL)
            case Victim.TREE:
                self.site.server.process.kill()
                self.site.server.start()
            case Victim.SUPERVISOR:
                self._kill_supervisor(workers)
                self.site.server.start()
        return kill

    def _enough_units(self) -> UnitCounts | None:
        counts = self.site.counts()
        return counts if counts.total >= LEAST_UNFINISHED else None

    def _choose(self) -> Victim:
        if self._worker_kills >= WORKER_KILLS_IN_A_ROW:
            return self._chooser.choice((Victim.TREE, Victim.TREE, Victim.SUPERVISOR))
        return self._chooser.choices(tuple(Victim), (6, 3, 1))[0]

    def _kill_supervisor(self, workers: list[int]) -> None:
        process = self.site.server.process
        process.send(signal.SIGKILL)
        process.wait()
        wait_for(
            lambda: not any(_runs(pid) for pid in workers),
            what="the end of the workers whose supervisor is gone",
        )

    def end_load(self) -> Ledger:
        """Let the client send what it has begun; what it was promised."""
        return self._load.finish()

    def finish(self) -> Verdict:
        """End the load, let everything be delivered, stop the server and compare."""
        ledger = self.end_load()
        self.site.wait_until_delivered()
        status = self.site.server.stop(30)
        assert status == 0, f"the server ended with {status}"
        damage = self.site.damage()
        assert not damage, damage
        return compare(
            ledger,
            mail=self.site.mail,
            waiting=self.site.waiting(REMOTE_ROUTE),
            commands=CommandRuns.read(self.site.pipe_log),
        )


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
