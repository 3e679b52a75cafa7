"""The memory that supervisor, workers and monitoring share: mapped before the first fork."""

from __future__ import annotations

from relevo.hooks.statistics import HookStatistics
from relevo.hooks.trials.canary import CanaryTable
from relevo.reception import ConnectionTable, PenaltyTable
from relevo.reception.sending_rates import SendingTable
from relevo.service.counters import Counters
from relevo.service.heartbeat import Heartbeats


class SharedTables:
    """One row a worker in each; a worker writes only its own."""

    def __init__(self, workers: int) -> None:
        self.connections = ConnectionTable(workers)
        self.counters = Counters(workers)
        self.hook_statistics = HookStatistics(workers)
        self.canaries = CanaryTable()  # one for all, under a lock
        self.heartbeats = Heartbeats(workers + 1)
        self.monitoring_row = workers  # of the heartbeats
        self.penalties = PenaltyTable(workers)
        self.sending = SendingTable(workers)
