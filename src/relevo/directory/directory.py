"""The directory: one immutable picture of our domains, users and aliases.

A change on disk makes a new `Directory` that replaces the old one whole, so a look-up never sees
half a change. Addresses that come in have a normalized domain; local parts are normalized here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.directory.domains import LOCALHOST
from relevo.directory.resolution import (
    AliasHookFailed,
    AliasHooks,
    HookAnswer,
    HookKind,
    HookQuestion,
    LocalDomain,
    Resolution,
)
from relevo.directory.values import Existence, ExpansionFailed, Target, UnknownNow
from relevo.mail.address import (
    Address,
    normalize_domain,
    normalize_local_address,
    parse_address,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path
    from typing import TypeVar

    from relevo.directory.local_part import LocalPartRules
    from relevo.directory.users import Credential

    Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class DomainFiles:
    """One domain as its files say it, ready for look-ups."""

    folder: Path
    users: Mapping[str, Credential]
    aliases: Mapping[str, tuple[Target, ...]]


class Directory:
    """Domains, users and aliases of one config directory, read-only and replaced whole on change.

    `exists_now` and `expand_now` answer from memory; None means that a hook must be asked, by the
    awaitable form, which gives the same answer in all other cases.
    """

    def __init__(
        self,
        domains: Mapping[str, DomainFiles],
        *,
        rules: LocalPartRules,
        postmaster: str = "",
        hooks: AliasHooks | None = None,
    ) -> None:
        """`postmaster` is the configured address or ""; raises InvalidAddress when it is none."""
        self.domains: frozenset[str] = frozenset((LOCALHOST, *domains))
        self._files = domains
        self._hooks = hooks
        local = {LOCALHOST: LocalDomain({}, {})}
        for domain, files in domains.items():
            local[domain] = LocalDomain(files.aliases, _mailboxes(files.users, rules))
        self._resolution = Resolution(local, rules, has_hooks=hooks is not None)
        first = next(iter(domains), LOCALHOST)
        self._postmaster = self._find_postmaster(postmaster, first)

    def is_local(self, domain: str) -> bool:
        """Is this normalized domain ours?"""
        return domain in self.domains

    def exists_now(self, address: Address) -> Existence | UnknownNow | None:
        """Does mail for an address of ours go anywhere? A foreign address is ABSENT."""
        return _answer_now(self._resolution.existence(address))

    async def exists(self, address: Address) -> Existence | UnknownNow:
        try:
            return await self._answer(self._resolution.existence(address))
        except AliasHookFailed as error:
            return UnknownNow(str(error))

    def expand_now(self, address: Address) -> tuple[Target, ...] | None:
        """Final targets of an accepted forward-path, duplicates collapsed.

        Raises ExpansionFailed.
        """
        return _answer_now(self._resolution.expansion(address))

    async def expand(self, address: Address) -> tuple[Target, ...]:
        try:
            return await self._answer(self._resolution.expansion(address))
        except AliasHookFailed as error:
            raise ExpansionFailed(f"aliases of {address.plain}: {error}") from error

    def normalize_recipient(self, local: str, domain: str) -> Address:
        """Forward-path to stored form: ours normalized as a whole, foreign ones in the domain only.

        Raises InvalidUser or InvalidDomain.
        """
        address = Address(local, normalize_domain(domain))
        return normalize_local_address(address) if self.is_local(address.domain) else address

    def postmaster(self) -> Address | None:
        """The configured address, else postmaster@ our first domain if that goes anywhere."""
        return self._postmaster

    def credential(self, address: Address) -> Credential | None:
        """How the user proves who it is; the local part is compared as it stands."""
        files = self._files.get(address.domain)
        return files.users.get(address.local) if files else None

    def folder(self, domain: str) -> Path | None:
        """Where the files of a normalized domain are; None: not ours, or localhost without any."""
        files = self._files.get(domain)
        return files.folder if files else None

    def _find_postmaster(self, configured: str, first_domain: str) -> Address | None:
        if configured:
            address = parse_address(configured, first_domain)
            return self.normalize_recipient(address.local, address.domain)
        address = Address("postmaster", first_domain)
        return address if self.exists_now(address) is Existence.FOUND else None

    async def _answer(self, question: Generator[HookQuestion, HookAnswer, Answer]) -> Answer:
        hook_answer: HookAnswer = None
        try:
            asked = next(question)
            while True:
                assert self._hooks is not None
                if asked.kind is HookKind.EXISTS:
                    hook_answer = await self._hooks.exists(asked.address)
                else:
                    hook_answer = await self._hooks.resolve(asked.address)
                asked = question.send(hook_answer)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


def _answer_now(question: Generator[HookQuestion, HookAnswer, Answer]) -> Answer | None:
    try:
        next(question)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    question.close()
    return None


def _mailboxes(users: Mapping[str, Credential], rules: LocalPartRules) -> dict[str, str]:
    """Cleaned name to the name in the users file; a user with the cleaned name itself comes first.

    A user `juan.perez` gets mail for `juanperez` and `juan.perez` where dots are dropped.
    """
    mailboxes = {rules.cleaned(name): name for name in sorted(users, reverse=True)}
    mailboxes.update({name: name for name in users if name == rules.cleaned(name)})
    return mailboxes
