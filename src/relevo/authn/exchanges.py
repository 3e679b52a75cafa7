"""One SASL exchange on the event loop: a conversation, its verification and its pace.

Whatever says yes or no takes at least `auth.failure_delay`, lengthened at random by up to a fifth
of the time that was missing, from the response that it answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from relevo.authn.dovecot_dialogue import DovecotFailed
from relevo.authn.passwords import verify
from relevo.authn.sasl import Claim, LoginConversation, PlainConversation
from relevo.authn.steps import LoggedIn, Step, Unavailable, WrongCredentials
from relevo.authn.verifications import TooManyPending, Verifications
from relevo.directory.users import Denied

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relevo.authn.dovecot import Dovecot
    from relevo.authn.scram import ScramConversation
    from relevo.authn.scram_keys import ScramKeyStore
    from relevo.directory import Directory

_RANDOM_SHARE = 0.2

_log = logging.getLogger("relevo.authn")


class Exchange(Protocol):
    """One SASL exchange."""

    async def step(self, data: bytes | None) -> Step:
        """Answer a decoded response; None: AUTH came without an initial response.

        After anything but a Challenge the exchange is over.
        """


class _Verdict(Enum):
    """On a password."""

    PROVED = auto()
    NOT_PROVED = auto()  # another source of users may prove it
    DENIED = auto()  # never logs in, whoever else knows the user


@dataclass(frozen=True, slots=True)
class Pace:
    """The least time of a verdict; clock and sleep are in seconds."""

    least_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def keep(self, started: float) -> None:
        """Wait until a verdict on what arrived at `started` may be told."""
        missing = self.least_s - (self.clock() - started)
        if missing > 0:
            await self.sleep(missing * (1 + _RANDOM_SHARE * random.random()))


class PasswordExchange:
    """PLAIN or LOGIN; `scram_keys` are made from proved passwords, None: not wanted."""

    def __init__(
        self,
        conversation: PlainConversation | LoginConversation,
        *,
        directory: Callable[[], Directory],
        verifications: Verifications,
        pace: Pace,
        scram_keys: ScramKeyStore | None,
        dovecot: Dovecot | None = None,
    ) -> None:
        self._conversation = conversation
        self._directory = directory
        self._verifications = verifications
        self._pace = pace
        self._scram_keys = scram_keys
        self._dovecot = dovecot

    async def step(self, data: bytes | None) -> Step:
        outcome = self._conversation.step(data)
        if not isinstance(outcome, Claim):
            return outcome
        started = self._pace.clock()
        claim = outcome
        try:
            verdict = await self._verifications.run(lambda: self._verify(claim))
            if verdict is _Verdict.NOT_PROVED and self._dovecot is not None:
                verdict = await _ask(self._dovecot, claim)
        except TooManyPending:
            return Unavailable()
        except DovecotFailed as error:
            _log.warning("login of %s cannot be judged: %s", claim.identity.plain, error)
            return Unavailable()
        await self._pace.keep(started)
        user = claim.identity.plain
        return LoggedIn(user) if verdict is _Verdict.PROVED else WrongCredentials(user)

    def _verify(self, claim: Claim) -> _Verdict:
        """What the users files say; in a thread."""
        directory = self._directory()
        credential = directory.credential(claim.identity)
        proved = verify(credential, claim.password, user=claim.identity.plain)
        if proved and self._scram_keys is not None:
            self._scram_keys.remember(directory, claim.identity, claim.password)
        if isinstance(credential, Denied):
            return _Verdict.DENIED
        return _Verdict.PROVED if proved else _Verdict.NOT_PROVED


async def _ask(dovecot: Dovecot, claim: Claim) -> _Verdict:
    proved = await dovecot.proves(claim.identity, claim.password)
    return _Verdict.PROVED if proved else _Verdict.NOT_PROVED


class ScramExchange:
    """SCRAM; its steps run in threads, since they may read a file."""

    def __init__(
        self, conversation: ScramConversation, *, verifications: Verifications, pace: Pace
    ) -> None:
        self._conversation = conversation
        self._verifications = verifications
        self._pace = pace

    async def step(self, data: bytes | None) -> Step:
        started = self._pace.clock()
        try:
            outcome = await self._verifications.run(lambda: self._conversation.step(data))
        except TooManyPending:
            return Unavailable()
        if self._conversation.is_decided:
            await self._pace.keep(started)
        return outcome
