"""Shadows in a worker: candidates that are asked what the live hooks were asked, and compared.

A shadow is asked after the verdict that counts, beside whatever the worker does next, so that it
can neither delay nor change a message. It has processes and caps of its own, like every declared
hook, and only so many of its calls may wait; what comes beyond them is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from relevo.hooks.post_data import PostDataHooks
from relevo.hooks.programs import program_of
from relevo.hooks.stages import StageHooks
from relevo.hooks.trials.asking import ask_question
from relevo.hooks.trials.effects import compared, effect_of
from relevo.hooks.trials.records import (
    ShadowDifference,
    ShadowRecord,
    ShadowTotals,
    encode_shadow,
    shadow_folder,
)
from relevo.hooks.wire import How
from relevo.queue.record_keeper import RecordKeeper
from relevo.queue.slices import Bounds

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.config.hook_model import DeclaredHook
    from relevo.hooks.caller import Caller
    from relevo.hooks.trials.effects import Effect
    from relevo.hooks.trials.held import HeldMessage
    from relevo.hooks.trials.seen import Question, Seen

logger = logging.getLogger("relevo.hooks")

MAX_WAITING = 256
"""Calls of a shadow in a worker that are under way or wait for a place."""
MAX_OCTETS = 32 * 1024 * 1024
"""Of messages held in memory for such calls of a worker."""

_ROOM = 8 * 1024 * 1024
_FLUSH = 1.0  # seconds between counts that are written down
_VARIABLES = {"RELEVO_HOOK_TRIAL": "shadow"}


class ShadowBook:
    """What the shadows of one worker said, on its way to the disk."""

    def __init__(self, config: Config, number: int, workers: int) -> None:
        hooks = config.hooks
        keep_s, octets = hooks.shadow_keep.total_seconds(), hooks.shadow_max_size
        bounds = Bounds.share(keep_s, octets, 100_000_000, workers)
        folder = shadow_folder(config.data_dir)
        least_free = config.queue.min_free_space
        self._keeper = RecordKeeper(folder, number, bounds, room=_ROOM, least_free=least_free)
        self._totals: dict[str, ShadowTotals] = {}
        self._flush: asyncio.TimerHandle | None = None
        self.octets = 0  # held in memory for calls

    def totals(self, shadow: DeclaredHook) -> ShadowTotals:
        """Counts to add to; they are written down soon."""
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_FLUSH, self.flush)
        found = self._totals.get(shadow.name)
        if found is None:
            found = ShadowTotals(shadow.name, shadow.shadow_of, shadow.stage)
            self._totals[shadow.name] = found
        return found

    def write(self, record: ShadowRecord) -> bool:
        """False: there is no room for it."""
        return self._keeper.put(time.time(), encode_shadow(record))

    def flush(self) -> None:
        """Write down what was counted."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        totals, self._totals = self._totals, {}
        for each in totals.values():
            if not self.write(each):  # then with the next ones
                self._totals[each.hook] = each

    def close(self) -> None:
        """What was handed over is written; blocking. After the last `flush`."""
        self._keeper.close()


class Shadow:
    """One shadow in a worker."""

    def __init__(self, declared: DeclaredHook, pool: int, caller: Caller, book: ShadowBook) -> None:
        self.declared = declared
        self._pool = pool
        self._post_data, self._stages = PostDataHooks(caller), StageHooks(caller)
        self._book = book
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, seen: Seen, held: HeldMessage | None) -> None:
        """Ask the shadow about it, soon, if it was reached and there is room."""
        found = self._compared_with(seen)
        if found is None:
            return
        size = len(seen.question.start)
        book = self._book
        if len(self._tasks) >= MAX_WAITING or (book.octets and book.octets + size > MAX_OCTETS):
            book.totals(self.declared).dropped += 1
            return
        book.octets += size
        held = None if held is None else held.take()
        work = self._ask(held, size, *found)
        task = asyncio.get_running_loop().create_task(work, name=f"shadow {self.declared.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Calls that are under way are given up."""
        if self._tasks:
            self._book.totals(self.declared).dropped += len(self._tasks)
        for task in self._tasks:
            task.cancel()

    def _compared_with(self, seen: Seen) -> tuple[Question, Effect, str] | None:
        """What it is to be asked, and the effect and version of whom it is compared with."""
        live = self.declared.shadow_of
        if not live:
            return seen.question, seen.total(), ""
        found = seen.at(live)
        if found is None:
            return None
        question, step = found
        return question, effect_of(step.verdict, question.start, step.failure), step.version

    async def _ask(
        self,
        held: HeldMessage | None,
        size: int,
        question: Question,
        live: Effect,
        live_version: str,
    ) -> None:
        try:
            await self._ask_and_compare(question, held, live, live_version)
        except Exception:
            logger.exception("shadow %s, asked about %s", self.declared.name, question.message_id)
            self._book.totals(self.declared).dropped += 1
        finally:
            self._book.octets -= size
            if held is not None:
                held.give_back()

    async def _ask_and_compare(
        self, question: Question, held: HeldMessage | None, live: Effect, live_version: str
    ) -> None:
        program = program_of(self._pool, self.declared)
        message = None if held is None else await held.get()
        verdict, called, failure = await ask_question(
            self._post_data, self._stages, program, question, message, _VARIABLES
        )
        totals = self._book.totals(self.declared)
        if called is not None and called.report.how is How.BUSY:
            totals.dropped += 1
            return
        totals.calls += 1
        totals.errors += bool(failure)
        found = compared(live, effect_of(verdict, question.start, failure))
        if found.is_equal:
            totals.equal += 1
            return
        totals.different += 1
        record = ShadowDifference(
            hook=self.declared.name,
            version="" if called is None else called.version,
            live=self.declared.shadow_of,
            live_version=live_version,
            stage=question.stage.value,
            message_id=question.message_id,
            about=question.about(),
            compared=found,
            seconds=0.0 if called is None else round(called.report.seconds, 6),
        )
        if not self._book.write(record):
            totals.unlisted += 1
