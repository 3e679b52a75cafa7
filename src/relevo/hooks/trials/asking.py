"""Asking one program a question that others were asked before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.hooks.contract import PostDataContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.hooks.caller import Called
    from relevo.hooks.contract import Verdict
    from relevo.hooks.post_data import HookMessage, PostDataHooks
    from relevo.hooks.programs import Program
    from relevo.hooks.stages import StageHooks
    from relevo.hooks.trials.seen import Question


async def ask_question(
    post_data: PostDataHooks,
    stages: StageHooks,
    program: Program,
    question: Question,
    rest: HookMessage | None,
    variables: Mapping[str, str],
) -> tuple[Verdict, Called | None, str]:
    """Verdict, call, and in words what was wrong with it.

    `rest` is the message as it came, whose octets behind those in memory can be read now.
    """
    context = question.context
    if not isinstance(context, PostDataContext):
        return await stages.ask_one(program, context, variables)
    message = question.message
    assert message is not None
    if message.rest is not None:
        assert rest is not None
        message = replace(message, rest=rest.rest)
    return await post_data.ask_one(program, context, message, question.raw_hello, variables)
