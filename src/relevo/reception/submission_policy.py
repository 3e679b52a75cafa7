"""What a user who has logged in may send: as whom, and how much.

A reverse-path and every address of the From field must be the user's own (`relevo.directory.
ownership`) or allowed by `submission.allow_senders`; the null reverse-path is anybody's (RFC 8098
§3: notifications of mail programs have it), the From field above it is not. `warn` logs what
`enforce` refuses. Rates are counted when a message is accepted.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.config.submission_rules import ANY_SENDER, parse_allowed
from relevo.directory import UnknownNow, owns, owns_now
from relevo.mail import Address, head_length
from relevo.mail.authors import UnclearAuthors, authors
from relevo.queue.schedule import HELD_UNTIL
from relevo.reception.acceptance import MessageRefused
from relevo.reception.answers import Answer
from relevo.reception.sender import SenderRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config.submission_model import Submission
    from relevo.directory import Directory
    from relevo.queue.store import NewMessage
    from relevo.reception.arriving import ArrivingMessage
    from relevo.reception.sending_rates import SendingRates

logger = logging.getLogger("relevo.reception")

_MOST_AUTHORS = 50
_UNKNOWN_NOW = Answer(451, "4.3.0", "The sender cannot be checked now, try again later")
_HELD = "held: the user wanted to send more than is allowed too often"


class SubmissionPolicy:
    """The rules of [submission] in force in one worker."""

    def __init__(
        self, config: Submission, rates: SendingRates, directory: Callable[[], Directory]
    ) -> None:
        self._config = config
        self._rates = rates
        self._directory = directory
        self._limits = (config.messages_per_hour, config.recipients_per_hour)
        self._allowed: dict[str, frozenset[str]] = {}
        for text in config.allow_senders:
            user, senders = parse_allowed(text)
            self._allowed[user] = self._allowed.get(user, frozenset()) | senders

    @classmethod
    def of(
        cls, config: Submission, rates: SendingRates, directory: Callable[[], Directory]
    ) -> SubmissionPolicy | None:
        """None: users may send what they like."""
        is_any = config.sender_check != "off" or config.messages_per_hour
        return cls(config, rates, directory) if is_any or config.recipients_per_hour else None

    async def at_mail(self, user: str, reverse_path: Address) -> None:
        """Raises SenderRefused."""
        refusal = self._too_much(user, messages=1, recipients=0)
        if refusal is None and not reverse_path.is_null and self._config.sender_check != "off":
            refusal = await self._not_own(user, (reverse_path,), "MAIL FROM")
        if refusal is not None:
            raise SenderRefused(refusal)

    def at_rcpt(self, user: str, recipients: int) -> Answer | None:
        """Why a transaction may not have so many recipients; None: it may."""
        return self._too_much(user, messages=1, recipients=recipients)

    async def at_message(self, user: str, message: ArrivingMessage, recipients: int) -> None:
        """Judge and count a message that is complete. Raises MessageRefused."""
        if self._config.sender_check != "off":
            refusal = await self._judge_authors(user, message)
            if refusal is not None:
                raise MessageRefused(refusal)
        refusal = self._too_much(user, messages=1, recipients=recipients)
        if refusal is not None:
            raise MessageRefused(refusal)
        if any(self._limits):
            self._rates.sent(user, recipients)

    def held_if_suspect(self, user: str, message: NewMessage) -> NewMessage:
        """The message, held when its user has gone too far too often."""
        most = self._config.hold_after
        if message.envelope.quarantine is not None:
            return message
        if not most or self._rates.refusals(user) < most:
            return message
        logger.warning("%s: held, since %s wants to send more than is allowed", message.id, user)
        units = tuple(
            replace(
                unit,
                due=HELD_UNTIL,
                recipients=tuple(replace(one, detail=_HELD) for one in unit.recipients),
            )
            for unit in message.units
        )
        return replace(message, units=units)

    # -- as whom

    async def _judge_authors(self, user: str, message: ArrivingMessage) -> Answer | None:
        start = message.start()
        try:
            found = authors(start[: head_length(start)])
            if len(found) > _MOST_AUTHORS:
                raise UnclearAuthors(f"the From field has more than {_MOST_AUTHORS} addresses")
        except UnclearAuthors as error:
            return self._refused(user, Answer(550, "5.7.1", f"Sender not allowed: {error}"))
        return await self._not_own(user, found, "From")

    async def _not_own(self, user: str, senders: tuple[Address, ...], place: str) -> Answer | None:
        """Why the user may not send as one of these; None: as all of them."""
        local, _, domain = user.rpartition("@") if "@" in user else (user, "", "")
        name, directory = Address(local, domain), self._directory()
        for sender in dict.fromkeys(senders):
            if self._is_allowed(user, sender):
                continue
            known = owns_now(directory, name, sender)
            is_own = await owns(directory, name, sender) if known is None else known
            if isinstance(is_own, UnknownNow):
                logger.warning("whether %s may send as %s: %s", user, sender.plain, is_own.reason)
                return self._refused(user, _UNKNOWN_NOW)
            if not is_own:
                text = f"Sender not allowed: {_shown(sender)} ({place}) is no address of {user}"
                return self._refused(user, Answer(550, "5.7.1", _ascii(text)))
        return None

    def _is_allowed(self, user: str, sender: Address) -> bool:
        allowed = self._allowed.get(user.lower())
        if not allowed:
            return False
        return not allowed.isdisjoint({ANY_SENDER, f"@{sender.domain}", sender.plain.lower()})

    def _refused(self, user: str, refusal: Answer) -> Answer | None:
        if self._config.sender_check == "enforce":
            return refusal
        logger.warning("%s: submission.sender_check would refuse: %s", user, refusal.text)
        return None

    # -- how much

    def _too_much(self, user: str, *, messages: int, recipients: int) -> Answer | None:
        if not any(self._limits):
            return None
        wait = self._rates.wait(user, messages=messages, recipients=recipients, limits=self._limits)
        if not wait:
            return None
        self._rates.refused(user)
        minutes = max(1, math.ceil(wait / 60))
        what = "recipients" if recipients > 1 else "messages"
        return Answer(
            450,
            "4.7.1",
            f"Too many {what} within an hour, try again in {minutes} "
            f"{'minute' if minutes == 1 else 'minutes'}",
        )


def _shown(address: Address) -> str:
    return address.plain if not address.is_null else "<>"


def _ascii(text: str) -> str:
    """For a reply: printable ASCII, bounded."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:400]
