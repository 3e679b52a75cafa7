"""The DNS tree walk: records of a domain and of what it belongs to (RFC 9989 §4.10).

At most 8 names are asked, all but the first at once: what a walk that went step by step would not
have asked is not looked at. A walk asks no more than is wanted of it: the own record is one
question.
"""

from __future__ import annotations

from collections.abc import Collection

from relevo.dns import DnsFailed, DnsLookups
from relevo.dns.at_once import all_of
from relevo.mailauth.dmarc.record import DmarcRecord, Suffix, select_record
from relevo.value import dataclass

MAX_LABELS = 8  # §4.10: longer names go down to 7 labels behind the first question


@dataclass(frozen=True, slots=True)
class Step:
    """One name of the walk: its record, if it has one; `has_failed`: DNS could not say."""

    domain: str
    record: DmarcRecord | None
    has_failed: bool = False


class WalkFailed(Exception):
    """DNS could not say what decides; `domain` is where it was asked."""

    def __init__(self, domain: str) -> None:
        super().__init__(f"DNS could not tell: _dmarc.{domain} TXT")
        self.domain = domain


def names_above(domain: str) -> list[str]:
    """The names that are asked behind the domain itself, from the longest to the shortest."""
    labels = domain.split(".")
    first = max(1, len(labels) - MAX_LABELS + 1)
    return [".".join(labels[start:]) for start in range(first, len(labels))]


class TreeWalk:
    """The walk of one domain, in lower case with A-labels; asks DNS once for each name."""

    __slots__ = ("_all", "_lookups", "_own", "domain")

    def __init__(self, domain: str, lookups: DnsLookups) -> None:
        self.domain = domain
        self._lookups = lookups
        self._own: Step | None = None
        self._all: tuple[Step, ...] | None = None

    def of(self, domain: str) -> TreeWalk:
        """The walk of another domain, in the same way."""
        return TreeWalk(domain, self._lookups)

    async def own_record(self) -> DmarcRecord | None:
        """The record of the domain itself. Raises WalkFailed."""
        if self._own is None:
            self._own = await self._ask(self.domain)
        if self._own.has_failed:
            raise WalkFailed(self.domain)
        return self._own.record

    async def steps(self) -> tuple[Step, ...]:
        """The names of the walk up to where it ends, from the longest to the shortest."""
        if self._all is None:
            own, *above = await self._ask_all([self.domain, *names_above(self.domain)])
            self._own = own
            self._all = _until_end(own, above)
        return self._all

    async def organizational_domain(self) -> str:
        """What the domain belongs to (§4.10.2). Raises WalkFailed."""
        steps = await self.steps()
        for step in steps:
            if step.has_failed:
                raise WalkFailed(step.domain)
        return _organizational(self.domain, steps)

    async def policy_record(self) -> tuple[str, DmarcRecord] | None:
        """The record whose policy applies, and its domain (§4.10.1); None: there is none.

        That of the domain itself, else that of what it belongs to, else that of the suffix.
        Raises WalkFailed.
        """
        own = await self.own_record()
        if own is not None:
            return self.domain, own
        organizational = await self.organizational_domain()
        records = {step.domain: step.record for step in await self.steps()}
        found = records.get(organizational)
        if found is not None:
            return organizational, found
        for name, record in records.items():
            if record is not None and record.suffix is Suffix.YES:
                return name, record
        return None

    async def _ask_all(self, names: Collection[str]) -> list[Step]:
        known = {} if self._own is None else {self.domain: self._own}
        known |= await all_of(self._ask, [name for name in names if name not in known])
        return [known[name] for name in names]

    async def _ask(self, domain: str) -> Step:
        try:
            answer = await self._lookups.txt(f"_dmarc.{domain}")
        except DnsFailed:
            return Step(domain, None, has_failed=True)
        return Step(domain, select_record(answer.records))


def _until_end(own: Step, above: list[Step]) -> tuple[Step, ...]:
    """Without what stands behind the record that ends the walk (§4.10, steps 2 and 6)."""
    if own.record is not None and own.record.suffix is Suffix.NO:
        return (own,)
    steps = [own]
    for step in above:
        steps.append(step)
        if step.record is not None and step.record.suffix is not Suffix.UNKNOWN:
            break
    return tuple(steps)


def _organizational(start: str, steps: tuple[Step, ...]) -> str:
    shortest = start
    for step in steps:
        if step.record is None:
            continue
        if step.record.suffix is Suffix.NO:
            return step.domain
        if step.record.suffix is Suffix.YES and step.domain != start:
            below = start.removesuffix("." + step.domain)
            return f"{below.rpartition('.')[2]}.{step.domain}"
        shortest = step.domain
    return shortest
