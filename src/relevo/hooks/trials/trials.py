"""New versions of hooks in a worker: who is asked instead of a hook, beside it, or later.

`Trials` hangs on the worker's `Caller`. Where nothing is declared it watches no stage, and costs a
look into an empty table for each hook that is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from relevo.hooks.contract import Stage
from relevo.hooks.programs import program_of
from relevo.hooks.settings import FIRST_DECLARED_POOL, worker_count
from relevo.hooks.statistics import HookOutcome
from relevo.hooks.trials.canary import Canary
from relevo.hooks.trials.held import HeldMessage
from relevo.hooks.trials.kept import MailKeeper
from relevo.hooks.trials.records import kept_mail_folder
from relevo.hooks.trials.seen import Question, Seen
from relevo.hooks.trials.shadow import Shadow, ShadowBook
from relevo.queue.slices import remove_slices

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from relevo.config import Config
    from relevo.hooks.caller import Caller
    from relevo.hooks.contract import PostDataContext, StageContext
    from relevo.hooks.post_data import HookMessage
    from relevo.hooks.programs import Program
    from relevo.hooks.steps import Step
    from relevo.hooks.trials.canary import CanaryTable

logger = logging.getLogger("relevo.hooks")

_ALIAS_STAGES = frozenset({Stage.ALIAS_EXISTS, Stage.ALIAS_RESOLVE})
_FAILURES = frozenset({HookOutcome.FAILED, HookOutcome.BAD_OUTPUT})


class Trials:
    """Those of one worker, whose number is `row`. Made within its event loop."""

    def __init__(self, caller: Caller, canaries: CanaryTable, row: int) -> None:
        self._caller = caller
        self._canary_table = canaries
        self._row = row
        self._keeper: MailKeeper | None = None
        self._book: ShadowBook | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._shadows: dict[Stage, list[Shadow]] = {}
        caller.trials = self
        self.reconfigure(caller.config)

    def reconfigure(self, config: Config) -> None:
        """From now on by another configuration."""
        self._stop_shadows()
        self._close_files()
        self._canaries: dict[tuple[str, str], list[Canary]] = {}
        self._judged: dict[str, list[tuple[Canary, bool]]] = {}
        workers = worker_count(config)
        if any(declared.shadow for declared in config.hook):
            self._book = ShadowBook(config, self._row, workers)
        for number, declared in enumerate(config.hook):
            if declared.shadow:
                assert self._book is not None
                pool = FIRST_DECLARED_POOL + number
                shadow = Shadow(declared, pool, self._caller, self._book)
                self._shadows.setdefault(Stage(declared.stage), []).append(shadow)
            elif declared.canary_of:
                self._add_canary(Canary(declared, number, self._canary_table))
        if config.replay.keep:
            self._keeper = MailKeeper(config, self._row, workers)
        elif self._row == 0 and (folder := kept_mail_folder(config.data_dir)).is_dir():
            self._start(asyncio.to_thread(remove_slices, folder))
        watched = frozenset(Stage) - _ALIAS_STAGES if self._keeper else frozenset(self._shadows)
        self.watches = watched.__contains__

    async def aclose(self) -> None:
        """Give up what is under way; what is known is written down."""
        self._stop_shadows()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        await asyncio.to_thread(self._close_files)

    # -- canaries

    def chosen(self, program: Program, context: PostDataContext | StageContext) -> Program:
        """Who is asked in the program's place: most times itself."""
        if not self._canaries:
            return program
        for canary in self._canaries.get((context.stage, program.name), ()):
            if canary.takes(_key(context)):
                return program_of(FIRST_DECLARED_POOL + canary.number, canary.declared)
        return program

    def count(self, hook: str, outcome: HookOutcome) -> None:
        """A call of a hook is over."""
        for canary, is_live in self._judged.get(hook, ()):
            state = canary.count(is_live=is_live, failed=outcome in _FAILURES)
            if state is not None:
                logger.error(
                    "canary %s is given up: %d of its last %d calls failed, of %s %d of %d; all is "
                    "asked of that one, until a reload or `relevo hook canary reset %s`",
                    state.name, state.failures, state.calls, canary.declared.canary_of,
                    state.live_failures, state.live_calls, state.name,
                )  # fmt: skip

    def _add_canary(self, canary: Canary) -> None:
        declared = canary.declared
        self._canaries.setdefault((declared.stage, declared.canary_of), []).append(canary)
        self._judged.setdefault(declared.name, []).append((canary, False))
        self._judged.setdefault(declared.canary_of, []).append((canary, True))

    # -- what hooks were asked

    def saw_stage(self, context: StageContext, steps: list[Step]) -> None:
        """Hooks of a stage that has no message were asked."""
        stage = Stage(context.stage)
        seen = Seen(time.time(), Question(stage, context), tuple(steps))
        for shadow in self._shadows.get(stage, ()):
            shadow.offer(seen, None)
        if self._keeper is not None and steps:
            self._keeper.keep(seen, b"")

    async def saw_message(
        self, context: PostDataContext, message: HookMessage, raw_hello: str, steps: list[Step]
    ) -> None:
        """Hooks of post-data were asked, or there are none.

        Waits for nothing but, where a message is spooled, that its file is opened.
        """
        shadows = self._shadows.get(Stage.POST_DATA, ())
        keeper = self._keeper
        if keeper is not None and message.size > keeper.max_message:
            keeper = None
        if keeper is None and not shadows:
            return
        question = Question(Stage.POST_DATA, context, message, raw_hello)
        seen = Seen(time.time(), question, tuple(steps))
        if message.rest is None:
            if keeper is not None:
                keeper.keep(seen, message.start)
            for shadow in shadows:
                shadow.offer(seen, HeldMessage(message))
            return
        try:
            held = await HeldMessage.of(message)
        except Exception as error:  # noqa: BLE001 - the message itself goes on, or fails elsewhere
            logger.warning("%s cannot be held for trials: %s", context.message_id, error)
            return
        for shadow in shadows:
            shadow.offer(seen, held)
        if keeper is not None:
            self._start(_keep_large(keeper, seen, held.take()))
        held.give_back()

    # -- ends

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="trials of hooks")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("trials of hooks: %s", error)

    def _stop_shadows(self) -> None:
        for shadows in self._shadows.values():
            for shadow in shadows:
                shadow.close()
        self._shadows = {}
        if self._book is not None:
            self._book.flush()

    def _close_files(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._book is not None:
            self._book.close()
            self._book = None


async def _keep_large(keeper: MailKeeper, seen: Seen, held: HeldMessage) -> None:
    try:
        message = await held.get()
        octets = await asyncio.to_thread(lambda: b"".join(message.pieces()))
    finally:
        held.give_back()
    keeper.keep(seen, octets)


def _key(context: PostDataContext | StageContext) -> str:
    """What a canary is chosen by: the message, or before there is one the client."""
    message_id = getattr(context, "message_id", "")
    if message_id:
        return str(message_id)
    client = getattr(context, "client", None)
    return "" if client is None else str(client.ip)
