"""The directory: one immutable picture of our domains, users and aliases.

A change on disk makes a new `Directory` that replaces the old one whole, so a look-up never sees
half a change. Addresses that come in have a normalized domain; local parts are normalized here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never, cast

from relevo.directory.asked_once import AskedOnce
from relevo.directory.domains import LOCALHOST
from relevo.directory.explanation import Explanation, explain
from relevo.directory.resolution import (
    AliasHookFailed,
    AliasHooks,
    Asked,
    LocalDomain,
    Question,
    Reply,
    Resolution,
    UserSource,
)
from relevo.directory.values import Existence, ExpansionFailed, Target, UnknownNow
from relevo.mail.address import (
    Address,
    normalize_domain,
    normalize_local_address,
    parse_address,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path
    from typing import TypeVar

    from relevo.directory.local_part import LocalPartRules
    from relevo.directory.users import Credential

    Answer = TypeVar("Answer")

_MOST_KNOWN = 4096  # answers kept of each kind


@dataclass(frozen=True, slots=True)
class DomainFiles:
    """One domain as its files say it, ready for look-ups."""

    folder: Path
    users: Mapping[str, Credential]
    aliases: Mapping[str, tuple[Target, ...]]


class Directory:
    """Domains, users and aliases of one config directory, read-only and replaced whole on change.

    `exists_now` and `expand_now` answer from memory; None means that a hook or another server must
    be asked, by the awaitable form, which gives the same answer in all other cases.
    """

    def __init__(
        self,
        domains: Mapping[str, DomainFiles],
        *,
        rules: LocalPartRules,
        postmaster: str = "",
        hooks: AliasHooks | None = None,
        users: UserSource | None = None,
    ) -> None:
        """`users` knows users whom no users file has.

        `postmaster` is the configured address or ""; raises InvalidAddress when it is none.
        """
        self.domains: frozenset[str] = frozenset((LOCALHOST, *domains))
        self._files = domains
        self._hooks = hooks
        self._users = users
        local = {LOCALHOST: LocalDomain({}, {})}
        for domain, files in domains.items():
            local[domain] = LocalDomain(files.aliases, _mailboxes(files.users, rules))
        self._resolution = Resolution(
            local, rules, has_hooks=hooks is not None, has_user_source=users is not None
        )
        self._existences: dict[Address, Existence | UnknownNow] = {}
        self._expansions: dict[Address, tuple[Target, ...]] = {}
        first = next(iter(domains), LOCALHOST)
        self._postmaster = self._find_postmaster(postmaster, first)

    def is_local(self, domain: str) -> bool:
        """Is this normalized domain ours?"""
        return domain in self.domains

    def exists_now(self, address: Address) -> Existence | UnknownNow | None:
        """Does mail for an address of ours go anywhere? A foreign address is ABSENT."""
        found = self._existences.get(address)
        if found is None:
            asking = self._resolution.existence(address)
            found = self._answer_now(asking, address, self._existences)
        return found

    def asked_once(self) -> AliasHooks | None:
        """The alias hooks for one transaction, for `exists` and `expand`; None: there are none."""
        return None if self._hooks is None else AskedOnce(self._hooks)

    async def exists(
        self, address: Address, hooks: AliasHooks | None = None
    ) -> Existence | UnknownNow:
        try:
            return await self._answer(self._resolution.existence(address), hooks)
        except AliasHookFailed as error:
            return UnknownNow(str(error))

    async def is_user(self, address: Address) -> Existence | UnknownNow:
        """Is a final address a user, of the files or elsewhere? Its aliases are not looked at."""
        if self.credential(address) is not None:
            return Existence.FOUND
        known = await self._users.knows(address) if self._users is not None else False
        if isinstance(known, UnknownNow):
            return known
        return Existence.FOUND if known else Existence.ABSENT

    def expand_now(self, address: Address) -> tuple[Target, ...] | None:
        """Final targets of an accepted forward-path, duplicates collapsed.

        Raises ExpansionFailed.
        """
        found = self._expansions.get(address)
        if found is None:
            asking = self._resolution.expansion(address)
            found = self._answer_now(asking, address, self._expansions)
        return found

    async def expand(self, address: Address, hooks: AliasHooks | None = None) -> tuple[Target, ...]:
        try:
            return await self._answer(self._resolution.expansion(address), hooks)
        except AliasHookFailed as error:
            raise ExpansionFailed(f"aliases of {address.plain}: {error}") from error

    async def explain(self, address: Address) -> Explanation:
        """Every look-up for an address of ours with its answer, for people."""
        return await explain(self._resolution, self._reply, address)

    def normalize_recipient(self, local: str, domain: str) -> Address:
        """Forward-path to stored form: ours normalized as a whole, foreign ones in the domain only.

        Raises InvalidUser or InvalidDomain.
        """
        address = Address(local, normalize_domain(domain))
        return normalize_local_address(address) if self.is_local(address.domain) else address

    def cleaned(self, address: Address) -> Address:
        """An address of ours, in stored form, without suffix and drop characters."""
        return Address(self._resolution.rules.cleaned(address.local), address.domain)

    def broken_aliases(self) -> Iterator[tuple[Path, Address, ExpansionFailed]]:
        """Aliases whose mail can never be taken, with the folder of their domain: loops."""
        for domain, files in self._files.items():
            for name in files.aliases:
                address = Address(name, domain)
                try:
                    self.expand_now(address)
                except ExpansionFailed as error:
                    yield files.folder, address, error

    def postmaster(self) -> Address | None:
        """The configured address, else postmaster@ our first domain if that may go anywhere."""
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
        # Where somebody has to be asked, that is done when mail for it comes.
        return address if self.exists_now(address) in {Existence.FOUND, None} else None

    def _answer_now(
        self,
        asking: Generator[Question, Reply, Answer],
        address: Address,
        known: dict[Address, Answer],
    ) -> Answer | None:
        """The answer if every question can be answered from memory.

        One that depends on this picture alone is kept in `known`.
        """
        try:
            question = next(asking)
        except StopIteration as stop:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            answer: Answer = stop.value
            known[address] = answer
            return answer
        try:
            while question.asked is Asked.RESOLVE_HOOK and self._hooks is not None:
                targets = self._hooks.resolve_now(question.address)
                if targets is None:
                    break
                question = asking.send(targets)
        except StopIteration as stop:
            return cast("Answer", stop.value)
        asking.close()
        return None

    async def _answer(
        self, asking: Generator[Question, Reply, Answer], hooks: AliasHooks | None
    ) -> Answer:
        try:
            question = next(asking)
            while True:
                question = asking.send(await self._reply(question, hooks))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer

    async def _reply(self, question: Question, hooks: AliasHooks | None = None) -> Reply:
        hooks = hooks or self._hooks
        match question.asked:
            case Asked.RESOLVE_HOOK:
                assert hooks is not None
                return await hooks.resolve(question.address)
            case Asked.EXISTS_HOOK:
                assert hooks is not None
                return await hooks.exists(question.address)
            case Asked.USERS:
                assert self._users is not None
                return await self._users.knows(question.address)
            case unreachable:
                assert_never(unreachable)


def _mailboxes(users: Mapping[str, Credential], rules: LocalPartRules) -> dict[str, str]:
    """Cleaned name to the name in the users file; a user with the cleaned name itself comes first.

    A user `juan.perez` gets mail for `juanperez` and `juan.perez` where dots are dropped.
    """
    mailboxes = {rules.cleaned(name): name for name in sorted(users, reverse=True)}
    mailboxes.update({name: name for name in users if name == rules.cleaned(name)})
    return mailboxes
