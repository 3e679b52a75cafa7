"""Delivery by a mail delivery agent (`local = "mda"`): one process a recipient.

Its stdin is the message with CRLF line ends and no delivery fields of ours. In its arguments these
are replaced, anywhere in a word and in one pass (values are not looked at again):

| token | from a@b.c to u@d.e |
|---|---|
| `%from%`, `%from_user%`, `%from_domain%` | a@b.c, a, b.c; null reverse-path: `<>`, `<>`, empty |
| `%to%`, `%to_user%`, `%to_domain%` | u@d.e, u, d.e (the final address) |

White space, control characters and shell characters are deleted from the values first. An argument
that begins with `-` only because a value does would be read as an option: then nothing is run and
the recipient fails (5.1.3), as does one of whose name nothing is left.

Exit 0 is delivered, 75 (EX_TEMPFAIL) temporary, any other status permanent. A deadline, a signal or
an agent that cannot be started is temporary: that is the server's fault, not the message's.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from relevo.delivery.attempt import DELIVERED, Attempt, Result, gather_results, permanent, temporary
from relevo.delivery.commands import Command, CommandNotStarted, CommandRunner, Ended, describe_end
from relevo.mail import Address, InvalidAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.queue.store import QueuedRecipient, Unit

_log = logging.getLogger(__name__)

_TOKEN = re.compile(r"%((?:from|to)(?:_user|_domain)?)%")
_DELETED = re.compile(r"""[\s\x00-\x1f\x7f-\x9f/;"'\\|*&$%()\[\]{}`!]""")


class UnsafeArgument(ValueError):
    """An address cannot stand in an argument; the text says why."""


def clean(text: str) -> str:
    """An address or a part of one without white space, control and shell characters."""
    return _DELETED.sub("", text)


def substitute(words: Sequence[str], reverse_path: Address, recipient: Address) -> tuple[str, ...]:
    """The arguments with their tokens replaced. Raises UnsafeArgument."""
    values = {
        "from": clean(reverse_path.plain),
        "from_user": "<>" if reverse_path.is_null else clean(reverse_path.local),
        "from_domain": clean(reverse_path.domain),
        "to": clean(recipient.plain),
        "to_user": clean(recipient.local),
        "to_domain": clean(recipient.domain),
    }
    if not values["to_user"]:
        raise UnsafeArgument("the recipient's name has no character that an argument may have")
    made = tuple(_TOKEN.sub(lambda match: values[match[1]], word) for word in words)
    for word, argument in zip(words, made, strict=True):
        if argument.startswith("-") and not word.startswith("-"):
            raise UnsafeArgument("an address that begins with a hyphen would be read as an option")
    return made


class MdaAgent:
    """Serves route `local` with a command."""

    name = "mda"

    def __init__(self, command: str, arguments: Sequence[str], runner: CommandRunner) -> None:
        self._command = command
        self._arguments = tuple(arguments)
        self._runner = runner

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        if len(attempt.pending) == 1:
            return (await self._deliver(attempt.unit, attempt.recipients[0]),)
        return await gather_results(
            self._deliver(attempt.unit, recipient) for recipient in attempt.recipients
        )

    def close(self) -> None:
        """Nothing is kept: a command ends with its attempt."""

    async def _deliver(self, unit: Unit, queued: QueuedRecipient) -> Result:
        try:
            reverse_path = parse_address(unit.envelope.reverse_path)
            recipient = parse_address(queued.target)
            arguments = substitute(self._arguments, reverse_path, recipient)
        except (InvalidAddress, UnsafeArgument) as error:
            return permanent("5.1.3", f"the address cannot be given to the delivery agent: {error}")
        command = Command(
            (self._command, *arguments),
            {
                "SENDER": "" if reverse_path.is_null else reverse_path.plain,
                "RECIPIENT": recipient.plain,
                "MESSAGE_ID": unit.message_id,
            },
        )
        try:
            ended = await self._runner.run(command, unit.content.chunks(), unit.content.size)
        except CommandNotStarted as error:
            _log.error("cannot run the mail delivery agent %s: %s", self._command, error)
            return temporary("4.3.5", f"the mail delivery agent cannot be run: {error}")
        return judge(ended, "the mail delivery agent")


def judge(ended: Ended, who: str) -> Result:
    """What the end of a command means for its recipient."""
    if ended.is_timeout or ended.status is None:
        return temporary("4.3.0", f"{who} failed: {describe_end(ended)}")
    match ended.status:
        case 0:
            return DELIVERED
        case 75:  # EX_TEMPFAIL
            return temporary("4.3.0", f"{who} failed: {describe_end(ended)}")
        case _:
            return permanent("5.3.0", f"{who} failed: {describe_end(ended)}")
