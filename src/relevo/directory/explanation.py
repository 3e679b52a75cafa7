"""Why an address goes where it goes: every look-up with its answer and its time.

The resolution itself is run, over maps that note what they are asked, so an explanation can never
differ from what happens to mail.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from relevo.directory.resolution import (
    MAX_LEVELS,
    AliasHookFailed,
    Asked,
    LocalDomain,
    Question,
    Reply,
    Resolution,
)
from relevo.directory.values import (
    Existence,
    ExpansionFailed,
    MailTarget,
    PipeTarget,
    Target,
    UnknownNow,
    ViaTarget,
)

if TYPE_CHECKING:
    from relevo.mail.address import Address

Answer = TypeVar("Answer")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Look:
    """One look-up: who was asked for what, and the answer; `seconds` of what takes time."""

    asked: str
    answer: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """An address or target of the tree; a final one has nothing below it."""

    target: Target
    looks: tuple[Look, ...] = ()
    below: tuple[Branch, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What RCPT is told, and where the mail goes then."""

    address: Address
    notes: tuple[str, ...]  # how the local part is read
    existence: Existence | UnknownNow
    existence_looks: tuple[Look, ...]
    tree: Branch


ReplyTo = Callable[[Question], Awaitable[Reply]]


async def explain(resolution: Resolution, reply: ReplyTo, address: Address) -> Explanation:
    """Run the resolution of an address of ours, taking notes. Never raises for what it finds."""
    run = _Run(resolution, reply)
    try:
        existence: Existence | UnknownNow = await run.drive(run.resolution.existence(address))
    except AliasHookFailed as error:
        existence = UnknownNow(str(error))
    looks = run.taken()
    tree = await run.branch(MailTarget(address), ())
    return Explanation(address, _reading(resolution, address), existence, looks, tree)


class _Run:
    """One resolution with its notes."""

    def __init__(self, resolution: Resolution, reply: ReplyTo) -> None:
        self._reply = reply
        self._looks: list[Look] = []
        self.resolution = replace(
            resolution,
            domains={
                name: LocalDomain(
                    _Noted(domain.aliases, f"aliases of {name}", self._looks, _targets_text),
                    _Noted(domain.mailboxes, f"users of {name}", self._looks, lambda _: "a user"),
                )
                for name, domain in resolution.domains.items()
            },
        )

    def taken(self) -> tuple[Look, ...]:
        """The notes since the last call."""
        looks = tuple(self._looks)
        self._looks.clear()
        return looks

    async def branch(self, target: Target, above: tuple[Address, ...]) -> Branch:
        if not isinstance(target, MailTarget):
            return Branch(target)
        if target.address in above:
            return Branch(target, problem="a loop: it stands for itself")
        if len(above) >= MAX_LEVELS:
            return Branch(target, problem=f"more than {MAX_LEVELS} levels")
        try:
            targets, is_final = await self.drive(self.resolution.step(target.address))
        except (AliasHookFailed, ExpansionFailed) as error:
            return Branch(target, self.taken(), problem=str(error))
        looks = self.taken()
        if is_final:
            if targets == (target,):
                return Branch(target, looks)
            return Branch(target, looks, tuple(Branch(one) for one in targets))
        below = [await self.branch(one, (*above, target.address)) for one in targets]
        return Branch(target, looks, tuple(below))

    async def drive(self, asking: Generator[Question, Reply, Answer]) -> Answer:
        """Answer its questions, taking the time of each."""
        try:
            question = next(asking)
            while True:
                question = asking.send(await self._ask(question))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer

    async def _ask(self, question: Question) -> Reply:
        who = _WHO[question.asked]
        start = time.perf_counter()
        try:
            answer = await self._reply(question)
        except AliasHookFailed as error:
            seconds = time.perf_counter() - start
            self._looks.append(Look(f"{who}: {question.address.plain}", str(error), seconds))
            raise
        seconds = time.perf_counter() - start
        if answer is not None:  # else there is no such hook
            look = Look(f"{who}: {question.address.plain}", _reply_text(answer), seconds)
            self._looks.append(look)
        return answer


_WHO = {
    Asked.RESOLVE_HOOK: "alias-resolve",
    Asked.EXISTS_HOOK: "alias-exists",
    Asked.USERS: "users elsewhere",
}


class _Noted(Mapping[str, Value]):
    """A map that notes what it is asked."""

    def __init__(
        self,
        inner: Mapping[str, Value],
        name: str,
        looks: list[Look],
        shown: Callable[[Value], str],
    ) -> None:
        self._inner = inner
        self._name = name
        self._looks = looks
        self._shown = shown

    def __getitem__(self, key: str) -> Value:
        value = self._inner.get(key)
        answer = "-" if value is None or value == () else self._shown(value)
        self._looks.append(Look(f"{self._name}: {key}", answer))
        return self._inner[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


def _reading(resolution: Resolution, address: Address) -> tuple[str, ...]:
    rules = resolution.rules
    exact, cleaned = rules.exact(address.local), rules.cleaned(address.local)
    notes = []
    if exact != address.local:
        notes.append(f"without drop characters: {exact}")
    if cleaned not in {exact, address.local}:
        notes.append(f"without suffix: {cleaned}")
    return tuple(notes)


def _reply_text(reply: Reply) -> str:
    match reply:
        case UnknownNow(reason):
            return f"unknown now: {reason}"
        case bool():
            return "yes" if reply else "no"
        case tuple():
            return _targets_text(reply)
        case None:
            return "-"


def _targets_text(targets: tuple[Target, ...]) -> str:
    return ", ".join(map(target_text, targets)) or "-"


def target_text(target: Target) -> str:
    """As an aliases file has it."""
    match target:
        case MailTarget(address):
            return address.plain
        case PipeTarget(words):
            return f"| {' '.join(words)}"
        case ViaTarget(address, servers):
            return f"{address.plain} via {'/'.join(servers)}"
