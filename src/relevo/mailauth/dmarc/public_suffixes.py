"""What a domain belongs to by a list of public suffixes, as RFC 7489 §3.2 had it.

The list is that of https://publicsuffix.org/list/, with its rules, wildcards and exceptions, the
private ones too. It takes the place of the tree walk where an operator wants the results of before
RFC 9989; all else about records and alignment stays as it is.
"""

from __future__ import annotations

from pathlib import Path

from relevo.config.mailauth_model import Dmarc
from relevo.dns import DnsLookups
from relevo.mail import InvalidAddress, domain_to_ascii
from relevo.mailauth.dmarc.record import DmarcRecord
from relevo.mailauth.dmarc.walk import Step, TreeWalk, WalkFailed

MAX_LIST = 16 * 1024 * 1024


class BadSuffixList(Exception):
    """Not a list of public suffixes; the text says why."""


class PublicSuffixes:
    """The rules of a list."""

    def __init__(self, text: str) -> None:
        """Raises BadSuffixList when there is not one rule."""
        self._rules: set[str] = set()
        self._wildcards: set[str] = set()  # below these each name is a suffix
        self._exceptions: set[str] = set()
        for line in text.splitlines():
            words = line.split(None, 1)
            if words and not words[0].startswith("//"):
                self._add(words[0])
        if not self._rules:
            raise BadSuffixList("it has no rule")

    def _add(self, word: str) -> None:
        into, name = self._rules, word
        if word.startswith("!"):
            into, name = self._exceptions, word[1:]
        elif word.startswith("*."):
            into, name = self._wildcards, word[2:]
        try:
            into.add(domain_to_ascii(name.lower().strip(".")))
        except InvalidAddress:
            return  # the domain of nobody, as far as DNS goes

    def organizational_domain(self, domain: str) -> str:
        """The name one label below the longest suffix; a suffix itself is its own.

        `domain` in lower case with A-labels. Of a top without a rule the last label is the suffix.
        """
        labels = domain.split(".")
        for at in range(len(labels)):
            name = ".".join(labels[at:])
            if name in self._exceptions:
                return name
            is_last = at == len(labels) - 1
            if is_last or name in self._rules or ".".join(labels[at + 1 :]) in self._wildcards:
                return ".".join(labels[max(0, at - 1) :])
        return domain


def read_suffixes(path: Path) -> PublicSuffixes:
    """The list in a file. Raises BadSuffixList, OSError."""
    if path.stat().st_size > MAX_LIST:
        raise BadSuffixList(f"it is larger than {MAX_LIST} octets")
    return PublicSuffixes(path.read_text(encoding="utf-8", errors="replace"))


def suffixes_of(settings: Dmarc) -> PublicSuffixes | None:
    """The list that the configuration wants; None: none. Raises BadSuffixList, OSError."""
    if settings.organizational_domain != "public_suffix":
        return None
    return read_suffixes(Path(settings.public_suffix_list))


class SuffixWalk(TreeWalk):
    """The same questions as `TreeWalk`, answered by a list and at most two names of DNS."""

    __slots__ = ("_suffixes",)

    def __init__(self, domain: str, lookups: DnsLookups, suffixes: PublicSuffixes) -> None:
        super().__init__(domain, lookups)
        self._suffixes = suffixes

    def of(self, domain: str) -> TreeWalk:
        return SuffixWalk(domain, self._lookups, self._suffixes)

    async def steps(self) -> tuple[Step, ...]:
        if self._all is None:
            names = dict.fromkeys((self.domain, await self.organizational_domain()))
            self._all = tuple(await self._ask_all(names))
        return self._all

    async def organizational_domain(self) -> str:
        return self._suffixes.organizational_domain(self.domain)

    async def policy_record(self) -> tuple[str, DmarcRecord] | None:
        """That of the domain itself, else that of what it belongs to (RFC 7489 §6.6.3)."""
        own = await self.own_record()
        if own is not None:
            return self.domain, own
        last = (await self.steps())[-1]
        if last.has_failed:
            raise WalkFailed(last.domain)
        return None if last.record is None else (last.domain, last.record)


def walk_of(domain: str, lookups: DnsLookups, suffixes: PublicSuffixes | None) -> TreeWalk:
    """The walk of a domain by a list, or without one by DNS."""
    if suffixes is None:
        return TreeWalk(domain, lookups)
    return SuffixWalk(domain, lookups, suffixes)
