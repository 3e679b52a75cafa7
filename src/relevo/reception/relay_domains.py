"""Domains that others keep and we take mail for, and which of their recipients exist.

By a list of the operator, or by asking the domain's server, whose answers are remembered: a yes for
`relay.known_for`, a no for a tenth of that. What cannot be found out is 450, never a guess.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.answer_cache import AnswerCache
from relevo.directory import Existence, UnknownNow
from relevo.mail import Address, InvalidAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relevo.config import Config

    Ask = Callable[[Address], Awaitable[Existence | UnknownNow]]

logger = logging.getLogger("relevo.reception")

MAX_LIST_SIZE = 64 * 1024 * 1024  # octets
_MOST_KNOWN = 100_000
_SHARE_OF_NO = 10


async def ask_nobody(_address: Address) -> Existence | UnknownNow:
    """Where there is no way to ask."""
    return UnknownNow("there is no way to ask the domain's server")


class RelayDomains:
    """The domains of [[relay_domain]], as one worker knows them."""

    def __init__(
        self, config: Config | None = None, ask: Ask = ask_nobody,
        *, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Reads the lists; one that cannot be read is an error in the log, and all is unknown."""
        known_for = 0.0 if config is None else config.relay.known_for.total_seconds()
        self._ask = ask
        self._clock = clock
        self._lists: dict[str, frozenset[str] | UnknownNow | None] = {}
        self._known: AnswerCache[Existence | UnknownNow] = AnswerCache(
            _MOST_KNOWN, lambda answer: _kept_for(answer, known_for)
        )
        for declared in () if config is None else config.relay_domain:
            listed = _read(Path(declared.recipients)) if declared.recipients else None
            self._lists[declared.domain] = listed

    def __contains__(self, domain: str) -> bool:
        return domain in self._lists

    async def verify(self, address: Address) -> Existence | UnknownNow:
        """Does the recipient exist?"""
        listed = self._lists.get(address.domain)
        if isinstance(listed, UnknownNow):
            return listed
        if listed is not None:
            names = (address.local.lower(), address.plain.lower())
            return Existence.ABSENT if listed.isdisjoint(names) else Existence.FOUND
        key = (address.local, address.domain)
        return await self._known.get(key, self._clock(), lambda: self._ask(address))


def _kept_for(answer: Existence | UnknownNow, known_for: float) -> float:
    if isinstance(answer, UnknownNow):
        return 0.0
    return known_for if answer is Existence.FOUND else known_for / _SHARE_OF_NO


def _read(path: Path) -> frozenset[str] | UnknownNow:
    """Local parts and addresses of a list, in lower case."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_SIZE + 1)
        if len(data) > MAX_LIST_SIZE:
            raise ValueError(f"larger than {MAX_LIST_SIZE} octets")
        lines = data.decode().splitlines()
    except (OSError, ValueError) as error:
        logger.error("the recipients in %s cannot be read: %s", path, error)  # noqa: TRY400 - the text says it all
        return UnknownNow(f"the list {path} cannot be read")
    names = (line.partition("#")[0].strip() for line in lines)
    return frozenset(_normalized(name) for name in names if name)


def _normalized(name: str) -> str:
    if "@" not in name:
        return name.lower()
    try:
        return parse_address(name).plain.lower()
    except InvalidAddress:
        return name.lower()
