"""The stages alias-resolve and alias-exists: `AliasHooks` over programs.

Answers are cached and single-flighted: many RCPTs for one address cost one process. The key holds
what the hooks' files look like, so that an edited hook is asked again at once. A failure is never
"no such user": it is `AliasHookFailed`, and for `alias-exists` what `hooks.alias_exists_errors`
says.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.answer_cache import AnswerCache
from relevo.directory import AliasHookFailed, MailTarget, Target
from relevo.directory.aliases import InvalidTargets, parse_targets
from relevo.hooks import contract_v1
from relevo.hooks.caller import Called, Caller, daemon_environment
from relevo.hooks.contract import AliasContext, InvalidVerdict, OnError, Stage
from relevo.hooks.contract.json_form import (
    alias_exists_verdict,
    alias_resolve_verdict,
    encode_context,
)
from relevo.hooks.programs import Form, Program
from relevo.hooks.statistics import HookOutcome

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from relevo.mail import Address


@dataclass(frozen=True, slots=True)
class AliasHookAnswer:
    """What the hooks of one stage said about an address."""

    targets: tuple[Target, ...] = ()
    exists: bool = False

    @property
    def is_positive(self) -> bool:
        return bool(self.targets) or self.exists


class ProgramAliasHooks:
    """The operator's programs that know more aliases than the files."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.reconfigure()

    def reconfigure(self) -> None:
        """The caller's configuration is another one: nothing kept is used any more."""
        hooks = self._caller.config.hooks
        positive_s = hooks.cache_ttl.total_seconds()
        negative_s = hooks.negative_ttl.total_seconds()
        self._cache: AnswerCache[AliasHookAnswer] = AnswerCache(
            hooks.cache_size, lambda answer: positive_s if answer.is_positive else negative_s
        )

    def resolve_now(self, address: Address) -> tuple[Target, ...] | None:
        """What `resolve` would say if that is known without asking; None: it must be asked."""
        programs = self._caller.programs.of(Stage.ALIAS_RESOLVE)
        if not programs or not _can_be_asked(address):
            return ()
        kept = self._cache.kept(_key(Stage.ALIAS_RESOLVE, address, programs), time.monotonic())
        return None if kept is None else kept.targets

    async def resolve(self, address: Address) -> tuple[Target, ...]:
        """Targets of all hooks in order; () for none. Raises AliasHookFailed."""
        programs = self._caller.programs.of(Stage.ALIAS_RESOLVE)
        if not programs or not _can_be_asked(address):
            return ()
        key = _key(Stage.ALIAS_RESOLVE, address, programs)
        answer = await self._cache.get(
            key, time.monotonic(), lambda: self._resolve(programs, address)
        )
        return answer.targets

    async def exists(self, address: Address) -> bool | None:
        """Whether a hook knows the cleaned address; None: there is no such hook.

        Raises AliasHookFailed.
        """
        programs = self._caller.programs.of(Stage.ALIAS_EXISTS)
        if not programs:
            return None
        if not _can_be_asked(address):
            return False
        key = _key(Stage.ALIAS_EXISTS, address, programs)
        answer = await self._cache.get(
            key, time.monotonic(), lambda: self._exists(programs, address)
        )
        return answer.exists

    async def _resolve(self, programs: list[Program], address: Address) -> AliasHookAnswer:
        found: dict[Target, None] = {}
        for program in programs:
            called = await self._call(Stage.ALIAS_RESOLVE, program, address)
            with self._counted(called) as outcome:
                targets = _targets(called, address)
                outcome.is_found = bool(targets)
            found.update(dict.fromkeys(targets))
        return AliasHookAnswer(targets=tuple(found))

    async def _exists(self, programs: list[Program], address: Address) -> AliasHookAnswer:
        for program in programs:
            called = await self._call(Stage.ALIAS_EXISTS, program, address)
            with self._counted(called) as outcome:
                outcome.is_found = self._knows(called)
            if outcome.is_found:
                return AliasHookAnswer(exists=True)
        return AliasHookAnswer()

    def _knows(self, called: Called) -> bool:
        program, report = called.program, called.report
        if program.form is Form.V1:
            if called.has_ended_by_itself:
                return report.status == 0
            if self._caller.config.hooks.alias_exists_errors == "absent":
                return False
            raise AliasHookFailed(f"{program.name}: {report.describe()}")
        problem = report.describe()
        if called.has_ended_by_itself and report.status == 0:
            try:
                return alias_exists_verdict(report.output)
            except InvalidVerdict as error:
                problem = str(error)
        if program.on_error is OnError.TEMPFAIL:
            raise AliasHookFailed(f"{program.name}: {problem}")
        return False

    @contextlib.contextmanager
    def _counted(self, called: Called) -> Iterator[_Found]:
        """Count the call by what the block finds out about it."""
        outcome = _Found()
        try:
            yield outcome
        except AliasHookFailed:
            self._caller.count(called, HookOutcome.FAILED)
            raise
        found = HookOutcome.FOUND if outcome.is_found else HookOutcome.NOT_FOUND
        self._caller.count(called, found if called.has_ended_by_itself else HookOutcome.FAILED)

    async def _call(self, stage: Stage, program: Program, address: Address) -> Called:
        directory = str(self._caller.config.config_dir)
        environment = contract_v1.alias_environment(daemon_environment(), directory)
        arguments: tuple[str, ...] = ()
        inputs = [b""]
        if program.form is Form.V1:
            arguments = (address.plain,)
        else:
            inputs.append(encode_context(AliasContext(stage=stage.value, address=address.plain)))
        return await self._caller.call(program, environment, inputs, arguments)


@dataclass(slots=True)
class _Found:
    """What is counted, once it is known."""

    is_found: bool = False


def _can_be_asked(address: Address) -> bool:
    """A name that a program could take for an option, or with a control in it, is no alias."""
    return not address.local.startswith("-") and address.plain.isprintable()


def _key(stage: Stage, address: Address, programs: list[Program]) -> Hashable:
    signatures = tuple((program.name, program.file.signature) for program in programs)
    return (stage, address, signatures)


def _targets(called: Called, address: Address) -> tuple[Target, ...]:
    program, report = called.program, called.report
    problem = report.describe()
    if called.has_ended_by_itself and report.status == 0:
        try:
            return _read_targets(program, report.output, address.domain)
        except UnicodeDecodeError:
            problem = "its output is not UTF-8"
        except (InvalidTargets, InvalidVerdict) as error:
            problem = f"its output is no list of targets: {error}"
    if program.form is Form.V2 and program.on_error is not OnError.TEMPFAIL:
        return ()
    raise AliasHookFailed(f"{program.name}: {problem}")


def _read_targets(program: Program, output: bytes, domain: str) -> tuple[Target, ...]:
    if program.form is Form.V1:
        targets = parse_targets(contract_v1.alias_text(output), domain)
    else:
        texts = alias_resolve_verdict(output)
        targets = tuple(each for text in texts for each in parse_targets(text, domain))
        if not all(isinstance(target, MailTarget) for target in targets):
            raise InvalidVerdict("only hooks in hooks/ may give pipe and via targets")
    if not all(_is_clean(target) for target in targets):
        raise InvalidTargets("a target has a control character")
    return targets


def _is_clean(target: Target) -> bool:
    address = getattr(target, "address", None)
    return address is None or address.plain.isprintable()
