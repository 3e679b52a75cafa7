"""Delivery to the commands of pipe aliases (`user: | command words`).

Words are split on white space, without a shell and without substitutions; stdin is the message
with LF line ends, which differs from a mail delivery agent's and is chasquid's behaviour. What is
known of the message stands in the environment (`relevo.delivery.commands`).

Exit 0 is delivered; 75 (EX_TEMPFAIL), a deadline, a signal or a command that cannot be started is
temporary; any other status is permanent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from relevo.delivery.attempt import Attempt, Result, gather_results, permanent, temporary
from relevo.delivery.commands import Command, CommandNotStarted, CommandRunner
from relevo.delivery.line_ends import to_lf
from relevo.delivery.mda import judge
from relevo.mail import InvalidAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.queue.store import QueuedRecipient, Unit

_log = logging.getLogger(__name__)


class PipeAgent:
    """Serves route `pipe`."""

    name = "pipe"

    def __init__(self, runner: CommandRunner) -> None:
        self._runner = runner

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        return await gather_results(
            self._deliver(attempt.unit, recipient) for recipient in attempt.recipients
        )

    def close(self) -> None:
        """Nothing is kept: a command ends with its attempt."""

    async def _deliver(self, unit: Unit, queued: QueuedRecipient) -> Result:
        words = tuple(queued.target.split())
        if not words:
            return permanent("5.3.5", "the alias names no command")
        content = unit.content
        command = Command(
            words,
            {
                "SENDER": _plain(unit.envelope.reverse_path),
                "RECIPIENT": _plain(queued.original),
                "MESSAGE_ID": unit.message_id,
            },
        )
        try:
            ended = await self._runner.run(command, to_lf(content.chunks()), content.size)
        except CommandNotStarted as error:
            _log.error("cannot run the pipe command %s: %s", words[0], error)
            return temporary("4.3.5", f"the command of the alias cannot be run: {error}")
        return judge(ended, "the command of the alias")


def _plain(text: str) -> str:
    """An address without quoting, as environment variables have it."""
    try:
        address = parse_address(text)
    except InvalidAddress:
        return text
    return "" if address.is_null else address.plain
