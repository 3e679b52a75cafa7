"""One call of one hook, with everything that protects the others from it.

Whatever goes wrong is a `Report`: a file that others may write to, an open breaker, no free place,
a crash. What the report means for the mail is said at the stages.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from types import MappingProxyType
from typing import TYPE_CHECKING

from relevo.hooks.calls import HookPool
from relevo.hooks.contract.json_form import SETTINGS_VARIABLE
from relevo.hooks.contract_v1 import alias_environment
from relevo.hooks.programs import Form, Program, Programs
from relevo.hooks.service_forms import service_pools
from relevo.hooks.settings import pool_settings, worker_count
from relevo.hooks.wire import How, Report
from relevo.hooks.worker_pool import WorkerPool
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relevo.config import Config
    from relevo.hooks.breaker import Breaker
    from relevo.hooks.host import PoolSockets
    from relevo.hooks.services import ServicePool
    from relevo.hooks.statistics import HookCounter, HookOutcome
    from relevo.hooks.trials.trials import Trials

logger = logging.getLogger("relevo.hooks")

NOTHING_MORE: Mapping[str, str] = MappingProxyType({})
"""No variables beside the usual ones."""

_MAX_BREAKERS = 256
_HARMFUL = frozenset(
    {How.SIGNALLED, How.TIMED_OUT, How.TOO_MUCH_OUTPUT, How.TOO_MANY_PROCESSES, How.BROKEN}
)


@dataclass(frozen=True, slots=True)
class Called:
    """A call that is over, whether or not anything ran."""

    program: Program
    report: Report
    version: str

    @property
    def has_ended_by_itself(self) -> bool:
        return self.report.how is How.EXITED


class Caller:
    """Calls hooks for one worker."""

    def __init__(
        self,
        config: Config,
        sockets: PoolSockets,
        counter: HookCounter | None = None,
    ) -> None:
        self._sockets = sockets
        self._counter = counter
        self._breakers: dict[str, Breaker] = {}
        self._pools: dict[int, HookPool | WorkerPool | ServicePool] = {}
        self._warned: set[tuple[str, str]] = set()
        self.trials: Trials | None = None
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Calls from now on follow another configuration."""
        self.config = config
        self.environment = alias_environment(os.environ, str(config.config_dir))
        self.programs = Programs(config)
        slot_timeout_s = config.hooks.slot_timeout.total_seconds()
        self.close()
        self._pools = {**service_pools(config)}
        for settings in pool_settings(config):
            requests = HookPool(
                self._sockets.workers[settings.index],
                settings.identity,
                slot_timeout_s=slot_timeout_s,
            )
            self._pools[settings.index] = requests
            if settings.in_flight:
                self._pools[settings.index] = WorkerPool(
                    requests,
                    processes=-(-settings.slots // worker_count(config)),
                    in_flight=settings.in_flight,
                    slot_timeout_s=slot_timeout_s,
                )
        self._breakers.clear()
        if self.trials is not None:
            self.trials.reconfigure(config)

    def close(self) -> None:
        """Give up what is kept between calls; calls that go on are not touched."""
        for pool in self._pools.values():
            if not isinstance(pool, HookPool):
                pool.close()

    async def call(
        self,
        program: Program,
        environment: Mapping[str, str],
        inputs: Sequence[int | bytes],
        arguments: tuple[str, ...] = (),
    ) -> Called:
        """Run the hook. `inputs`: stdin and, for v2, the context, as in `HookPool.call`."""
        if program.settings:
            environment = {**environment, SETTINGS_VARIABLE: program.settings}
        report = self._obstacle(program) or await self._run(program, environment, inputs, arguments)
        version = self.programs.folder.known_version(program.file)
        if version is None:
            version = await asyncio.to_thread(self.programs.folder.version, program.file)
        called = Called(program, report, version)
        if report.how is not How.EXITED:
            logger.warning("%s: %s%s", program.name, report.describe(), _shown(report.errors))
        return called

    def count(self, called: Called, outcome: HookOutcome) -> None:
        """What came of a call, for `relevo status`."""
        if self._counter is not None:
            self._counter.count(called.program.name, outcome, called.report.seconds)
        if self.trials is not None:
            self.trials.count(called.program.name, outcome)

    def _obstacle(self, program: Program) -> Report | None:
        """Why the hook is not even tried."""
        file = program.file
        if file.problem:
            return Report(How.NOT_STARTED, detail=file.problem)
        if file.is_writable_by_others:
            if self.config.hooks.writable_by_others == "refuse":
                return Report(How.NOT_STARTED, detail="others may write to it; chmod o-w")
            self._warn_once(file.name, "others may write to it; chmod o-w")
        return None

    async def _run(
        self,
        program: Program,
        environment: Mapping[str, str],
        inputs: Sequence[int | bytes],
        arguments: tuple[str, ...],
    ) -> Report:
        breaker = self._breaker(program.name)
        if not breaker.allows(time.monotonic(), program.file.signature):
            return Report(How.NOT_STARTED, detail="its last calls all failed, it is paused")
        hooks, pool = self.config.hooks, self._pools[program.pool]
        if isinstance(pool, WorkerPool):
            pool.signature = program.file.signature
        try:
            report = await pool.call(
                (*program.words, *arguments),
                environment,
                inputs,
                timeout_s=program.timeout_s,
                max_output=hooks.output_limit,
                max_processes=hooks.max_processes,
                is_v2=program.form is Form.V2,
            )
        except BaseException:
            breaker.forget()
            raise
        if report.how is How.BUSY:
            breaker.forget()
        elif breaker.report(time.monotonic(), failed=report.how in _HARMFUL):
            logger.error(
                "%s: the last %d calls all failed; not called for %g s",
                program.name, breaker.failures, breaker.pause_s,
            )  # fmt: skip
        return report

    def _breaker(self, name: str) -> Breaker:
        breaker = self._breakers.get(name)
        if breaker is None:
            if len(self._breakers) >= _MAX_BREAKERS:
                self._breakers.clear()
            hooks = self.config.hooks
            breaker = self._breakers[name] = self._sockets.breakers.breaker(
                name, hooks.breaker_failures, hooks.breaker_pause.total_seconds()
            )
        return breaker

    def _warn_once(self, name: str, text: str) -> None:
        if (name, text) not in self._warned and len(self._warned) < _MAX_BREAKERS:
            self._warned.add((name, text))
            logger.warning("%s: %s", name, text)


def daemon_environment() -> Mapping[str, str]:
    """What hooks inherit a little of."""
    return os.environ


def _shown(errors: bytes, limit: int = 500) -> str:
    """What it wrote to stderr, for the end of a log line."""
    text = errors.decode("utf-8", "replace").strip()
    return f"; stderr: {text[:limit]}" if text else ""
