"""Alias resolution: does mail for one of our addresses go anywhere, and where.

Both questions are written once, as generators that yield a `Question` where somebody has to be
asked and get the answer sent back: `Directory` drives them. A hook call costs a process, so
`existence` asks only where files and users do not answer.

Order (at RCPT): file entry of the address with its suffix, of the cleaned address, user, catch-all,
then users whom another server knows (`UserSource`), then hooks. At expansion each step is the file
entry together with what the hook adds; a user of another server comes before the catch-all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, assert_never

from relevo.directory.aliases import ANY_USER
from relevo.directory.values import (
    Existence,
    ExpansionFailed,
    MailTarget,
    PipeTarget,
    Target,
    UnknownNow,
    ViaTarget,
)
from relevo.mail.address import Address, InvalidUser, normalize_user

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from relevo.directory.local_part import LocalPartRules

MAX_LEVELS = 10
"""Deepest chain of aliases, the asked address and the last target included."""


class AliasHookFailed(Exception):
    """A hook gave no usable answer; the text is for the log."""


class AliasHooks(Protocol):
    """Programs of the operator that know more aliases than the files."""

    def resolve_now(self, address: Address) -> tuple[Target, ...] | None:
        """The same as `resolve` where memory knows it; None: it must be awaited."""

    async def resolve(self, address: Address) -> tuple[Target, ...]:
        """More targets of `address`; () for none or without such a hook. Raises AliasHookFailed."""

    async def exists(self, address: Address) -> bool | None:
        """Whether the cleaned `address` exists; None: no such hook, `resolve` decides.

        Raises AliasHookFailed.
        """


class UserSource(Protocol):
    """Another server that knows users whom no users file has (Dovecot)."""

    async def knows(self, address: Address) -> bool | UnknownNow:
        """Whether the cleaned `address` is a user there. Never raises."""


class Asked(Enum):
    """Who a question goes to."""

    RESOLVE_HOOK = auto()
    EXISTS_HOOK = auto()
    USERS = auto()


@dataclass(frozen=True, slots=True)
class Question:
    """Sent back: targets (RESOLVE_HOOK), bool or None (EXISTS_HOOK), bool or UnknownNow (USERS)."""

    asked: Asked
    address: Address


Reply = tuple[Target, ...] | bool | UnknownNow | None


@dataclass(frozen=True, slots=True)
class LocalDomain:
    """What the files of one domain say."""

    aliases: Mapping[str, tuple[Target, ...]]
    mailboxes: Mapping[str, str]
    """Cleaned user name to the name in the users file."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The files that the questions are answered from; `has_hooks`: may questions be asked?"""

    domains: Mapping[str, LocalDomain]
    rules: LocalPartRules
    has_hooks: bool
    has_user_source: bool = False

    def existence(self, address: Address) -> Generator[Question, Reply, Existence | UnknownNow]:
        """Whether mail for `address` goes anywhere; an address that is not ours is ABSENT."""
        domain = self.domains.get(address.domain)
        if domain is None:
            return Existence.ABSENT
        try:
            local = normalize_user(address.local)
        except InvalidUser:
            return Existence.INVALID
        cleaned = self.rules.cleaned(local)
        if cleaned == ANY_USER:
            return Existence.INVALID  # the name of the catch-all is nobody's
        if not cleaned:
            return Existence.ABSENT
        aliases = domain.aliases
        if (
            aliases.get(self.rules.exact(local))
            or aliases.get(cleaned)
            or cleaned in domain.mailboxes
            or aliases.get(ANY_USER)
        ):
            return Existence.FOUND
        elsewhere = yield from self._is_user_elsewhere(cleaned, address.domain)
        if elsewhere is True:
            return Existence.FOUND
        if self.has_hooks and (yield from self._exists_by_hook(local, cleaned, address.domain)):
            return Existence.FOUND
        return elsewhere or Existence.ABSENT

    def _is_user_elsewhere(
        self, local: str, domain: str
    ) -> Generator[Question, Reply, bool | UnknownNow]:
        if not self.has_user_source:
            return False
        known = yield Question(Asked.USERS, Address(local, domain))
        assert isinstance(known, bool | UnknownNow)
        return known

    def _exists_by_hook(
        self, local: str, cleaned: str, domain: str
    ) -> Generator[Question, Reply, bool]:
        known = yield Question(Asked.EXISTS_HOOK, Address(cleaned, domain))
        if known is not None:
            return bool(known)
        for name in dict.fromkeys((local, cleaned, ANY_USER)):
            if (yield Question(Asked.RESOLVE_HOOK, Address(name, domain))):
                return True
        return False

    def expansion(self, address: Address) -> Generator[Question, Reply, tuple[Target, ...]]:
        """Final targets in order, each once. Raises ExpansionFailed."""
        finals: dict[Target, None] = {}
        heights: dict[Address, int] = {}  # levels below an address, once all of it is in `finals`
        yield from self._expand(address, (), finals, heights)
        return tuple(finals)

    def _expand(
        self,
        address: Address,
        above: tuple[Address, ...],
        finals: dict[Target, None],
        heights: dict[Address, int],
    ) -> Generator[Question, Reply, int]:
        """Add the final targets of `address`; returns how many levels are below it.

        An address that was expanded before adds nothing, so the work is bounded by the number of
        different addresses and not by the number of ways to them.
        """
        if address in above:
            raise ExpansionFailed(f"aliases form a loop: {_chain(above, address)}")
        height = heights.get(address, 0)
        if len(above) + height >= MAX_LEVELS:
            raise ExpansionFailed(
                f"aliases are more than {MAX_LEVELS} levels deep: {_chain(above, address)}"
            )
        if address in heights:
            return height
        targets, is_final = yield from self.step(address)
        if is_final:
            finals.update(dict.fromkeys(targets))
        else:
            below = (*above, address)
            for target in targets:
                match target:
                    case MailTarget(next_address):
                        levels = yield from self._expand(next_address, below, finals, heights)
                        height = max(height, levels + 1)
                    case PipeTarget() | ViaTarget():
                        finals[target] = None
                    case _:
                        assert_never(target)
        heights[address] = height
        return height

    def step(self, address: Address) -> Generator[Question, Reply, tuple[tuple[Target, ...], bool]]:
        """Targets one level down; True: they are final, since `address` is no alias."""
        domain = self.domains.get(address.domain)
        if domain is None:
            return (MailTarget(address),), True
        local = _normalized(address.local)
        cleaned = self.rules.cleaned(local)
        targets = yield from self._lookup(domain, self.rules.exact(local), local, address.domain)
        if not targets and cleaned != local:
            targets = yield from self._lookup(domain, cleaned, cleaned, address.domain)
        if targets:
            return _for_user(targets, local), False
        mailbox = domain.mailboxes.get(cleaned)
        if mailbox is not None:
            return (MailTarget(Address(mailbox, address.domain)),), True
        targets = yield from self._catch_all(domain, Address(cleaned, address.domain))
        if targets:
            return _for_user(targets, local), False
        # Accepted and yet unknown here: local delivery knows more users than we do.
        return (MailTarget(Address(cleaned or local, address.domain)),), True

    def _catch_all(
        self, domain: LocalDomain, cleaned: Address
    ) -> Generator[Question, Reply, tuple[Target, ...]]:
        """Targets for the name of nobody in the files; none if another server knows it."""
        targets = yield from self._lookup(domain, ANY_USER, ANY_USER, cleaned.domain)
        if not targets or not cleaned.local:
            return targets
        elsewhere = yield from self._is_user_elsewhere(cleaned.local, cleaned.domain)
        if isinstance(elsewhere, UnknownNow):
            raise ExpansionFailed(f"whether {cleaned.plain} is a user: {elsewhere.reason}")
        return () if elsewhere else targets

    def _lookup(
        self, domain: LocalDomain, entry: str, asked: str, domain_name: str
    ) -> Generator[Question, Reply, tuple[Target, ...]]:
        targets = domain.aliases.get(entry, ())
        if self.has_hooks:
            more = yield Question(Asked.RESOLVE_HOOK, Address(asked, domain_name))
            assert isinstance(more, tuple)
            targets += more
        return targets


def _normalized(local: str) -> str:
    try:
        return normalize_user(local)
    except InvalidUser:
        return local  # no name of ours: only a catch-all can match it


def _for_user(targets: tuple[Target, ...], local: str) -> tuple[Target, ...]:
    """`targets` with the user part of the asked address in place of `*`."""
    return tuple(
        target
        if isinstance(target, PipeTarget) or target.address.local != ANY_USER
        else replace(target, address=Address(local, target.address.domain))
        for target in targets
    )


def _chain(above: tuple[Address, ...], last: Address) -> str:
    return " -> ".join(str(address) for address in (*above, last))
