"""What the monitoring pages show, as values; gathering it is the matter of the rooms above."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.hooks.statistics import HookFigures
    from relevo.hooks.trials.canary import CanaryState
    from relevo.queue import Counts


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """One worker as its supervisor and it itself say."""

    row: int
    pid: int  # 0: none runs
    is_ready: bool
    restarts: int
    is_suspended: bool  # its store takes no mail
    lag_s: float  # how late the last timer of its loop came


@dataclass(frozen=True, slots=True)
class Figures:
    """One moment of a server. Times are seconds since the epoch; counters count since `started`.

    `totals` are counters by name; `families` counters by name and label (`relevo.service.counters`
    says which there are).
    """

    version: str
    hostname: str
    data_dir: str
    started: float
    now: float
    totals: Mapping[str, int]
    families: Mapping[str, Mapping[str, int]]
    workers: tuple[WorkerFigures, ...]
    connections: int
    listeners: Mapping[str, tuple[str, ...]]  # key below [listen] → addresses
    hooks: tuple[HookFigures, ...] = ()
    canaries: tuple[CanaryState, ...] = ()
    queue: Counts | None = None  # None: it could not be read
    oldest: float | None = None  # when the oldest waiting message came
    certificates: Mapping[str, float] = field(default_factory=dict)  # folder → end of validity
    memory: Mapping[str, int] = field(default_factory=dict)  # process → resident octets

    @property
    def is_ready(self) -> bool:
        """All workers take connections, and none has its store suspended."""
        return all(worker.is_ready and not worker.is_suspended for worker in self.workers)
