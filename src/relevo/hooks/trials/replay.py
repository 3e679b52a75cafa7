"""Asking a version of a hook about mail that was kept, and where it differs from another.

Nothing that it answers is done. It is compared with what was recorded when the mail came, or with a
second version that is asked the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.caller import Caller
from relevo.hooks.post_data import PostDataHooks
from relevo.hooks.stages import StageHooks
from relevo.hooks.trials.asking import ask_question
from relevo.hooks.trials.effects import Compared, compared, effect_of
from relevo.hooks.trials.records import decode_kept, kept_mail_folder
from relevo.hooks.trials.versions import programs_of
from relevo.queue.slices import read_slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from relevo.config import Config
    from relevo.hooks.contract import Stage
    from relevo.hooks.host import PoolSockets
    from relevo.hooks.programs import Program
    from relevo.hooks.trials.effects import Effect
    from relevo.hooks.trials.records import Kept
    from relevo.hooks.trials.seen import Question
    from relevo.hooks.trials.versions import Version

_VARIABLES = {"RELEVO_HOOK_TRIAL": "replay"}


@dataclass(frozen=True, slots=True)
class ReplayDifference:
    """A message about which the version differs; `compared.other` is what it says now."""

    time: float
    message_id: str
    about: str
    is_redacted: bool
    compared: Compared


@dataclass(slots=True)
class ReplayResult:
    """`calls` are compared messages; `errors` of them failed, of either version.

    `skipped` were not asked of the hook that the version stands for; `redacted` of the compared
    ones are not as they came.
    """

    calls: int = 0
    equal: int = 0
    different: int = 0
    errors: int = 0
    skipped: int = 0
    redacted: int = 0
    differences: list[ReplayDifference] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        found: dict[str, object] = msgspec.to_builtins(self)
        return found


def read_kept(
    data_dir: Path,
    stage: Stage,
    since: float,
    *,
    message_ids: frozenset[str] = frozenset(),
    limit: int | None = None,
) -> Iterable[Kept]:
    """What was kept of a stage; with `limit`, the latest. Raises OSError."""
    found = _read(data_dir, stage, since, message_ids)
    if limit is None:
        return found
    return deque(sorted(found, key=lambda kept: kept.seen.time), maxlen=limit)


async def replay(
    config: Config,
    sockets: PoolSockets,
    versions: list[Version],
    mail: Iterable[Kept],
    jobs: int,
) -> ReplayResult:
    """Ask the first version, and compare with the second, if there is one.

    `config` is that of `replay_config`, `jobs` are calls at once.
    """
    runner = _Replay(config, sockets, versions)
    source = iter(mail)

    async def work() -> None:
        for kept in source:
            await runner.take(kept)

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(work())
    runner.close()
    runner.result.differences.sort(key=lambda each: each.time)
    return runner.result


class _Replay:
    def __init__(self, config: Config, sockets: PoolSockets, versions: list[Version]) -> None:
        self._caller = Caller(config, sockets)
        self._post_data, self._stages = PostDataHooks(self._caller), StageHooks(self._caller)
        self._place = versions[0].place
        self._programs = programs_of(config, versions)
        self.result = ReplayResult()

    def close(self) -> None:
        self._caller.close()

    async def take(self, kept: Kept) -> None:
        """Ask about one message, and count."""
        result, seen = self.result, kept.seen
        question = seen.question
        before: Effect | None = None
        if self._place:
            found = seen.at(self._place)
            if found is None:
                result.skipped += 1
                return
            question, step = found
            before = effect_of(step.verdict, question.start, step.failure)
        other, *against = self._programs
        if against:
            before = await self._ask(against[0], question)
        after = await self._ask(other, question)
        before = before or seen.total()
        is_redacted = kept.redacted != "nothing"
        result.calls += 1
        result.redacted += is_redacted
        result.errors += bool(after.failure or (against and before.failure))
        outcome = compared(before, after)
        if outcome.is_equal:
            result.equal += 1
            return
        result.different += 1
        result.differences.append(
            ReplayDifference(seen.time, question.message_id, question.about(), is_redacted, outcome)
        )

    async def _ask(self, program: Program, question: Question) -> Effect:
        verdict, _, failure = await ask_question(
            self._post_data, self._stages, program, question, question.message, _VARIABLES
        )
        return effect_of(verdict, question.start, failure)


def _read(
    data_dir: Path, stage: Stage, since: float, message_ids: frozenset[str]
) -> Iterator[Kept]:
    for when, record in read_slices(kept_mail_folder(data_dir), since):
        try:
            kept = decode_kept(when, record)
        except (msgspec.MsgspecError, ValueError):  # of another release
            continue
        question = kept.seen.question
        if question.stage is stage and (not message_ids or question.message_id in message_ids):
            yield kept
