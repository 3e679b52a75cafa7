"""The hooks of a stage as programs to run: those in `hooks/`, then those that are declared.

A program in `hooks/` has contract v1 and the settings of `[hooks]`; one of `[[hook]]` has contract
v2 and its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.config.free_table import FreeTable
from relevo.config.hook_target import SERVICE_FORMS
from relevo.hooks.contract import OnError, Stage
from relevo.hooks.files import NOTHING, HookFile, HookFolder, hook_file
from relevo.hooks.settings import ALIAS_POOL, FIRST_DECLARED_POOL, POST_DATA_POOL, PYTHON_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Config
    from relevo.config.hook_model import DeclaredHook


BELIEVED_FOR_S = 0.02
"""How long after a look it stays true that a stage has no hook in `hooks/`, and which file a
declared one is."""


class Form(Enum):
    """How a hook is spoken to."""

    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Program:
    """One hook, ready to be called."""

    file: HookFile
    form: Form
    pool: int
    timeout_s: float
    on_error: OnError
    arguments: tuple[str, ...] = ()
    run_as: str = ""
    kind: str = "exec"  # the form of its declaration
    settings: str = ""  # the table of its declaration as JSON; "": it has none

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def words(self) -> tuple[str, ...]:
        """What is run, with the arguments of the declaration."""
        if self.kind in SERVICE_FORMS:
            return (self.file.path,)
        if self.kind == "python":
            return (*PYTHON_WORDS, self.file.path, *self.arguments)
        return (self.file.path, *self.arguments)


class Programs:
    """All hooks of a configuration."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._until = dict.fromkeys(Stage, float("-inf"))
        self._believed: dict[Stage, list[Program]] = {}
        self.folder = HookFolder(config.config_dir)
        self._declared: dict[Stage, list[tuple[int, DeclaredHook]]] = {}
        self._variants: dict[Stage, list[tuple[int, DeclaredHook]]] = {}
        for number, declared in enumerate(config.hook):
            kind = self._variants if declared.is_variant else self._declared
            of_stage = kind.setdefault(Stage(declared.stage), [])
            of_stage.append((FIRST_DECLARED_POOL + number, declared))

    def declares(self, stage: Stage) -> bool:
        """Whether a `[[hook]]` names the stage, be it a shadow."""
        return stage in self._declared or stage in self._variants

    def variants(self, stage: Stage) -> list[tuple[DeclaredHook, Program]]:
        """Shadows and canaries, which `of` does not know."""
        found = self._variants.get(stage, ())
        return [(declared, program_of(pool, declared)) for pool, declared in found]

    def of(self, stage: Stage) -> list[Program]:
        """In the order of their calls. The list is not to be changed.

        What a look found is believed for `BELIEVED_FOR_S`, unless a hook stands in the folder:
        those are looked at for each call. Looking costs two system calls and more, and each of
        them gives up the interpreter lock on the path of every message (measured: a quarter of the
        accept rate without a hook, a third of what a call of a worker hook cost).
        """
        now = self._clock()
        if now < self._until[stage]:
            return self._believed[stage]
        programs = []
        if stage.has_files:
            programs = [self._from_folder(stage, file) for file in self.folder.find(stage)]
        if not programs:
            self._until[stage] = now + BELIEVED_FOR_S
        for pool, declared in self._declared.get(stage, ()):
            programs.append(program_of(pool, declared))
        self._believed[stage] = programs
        return programs

    def _from_folder(self, stage: Stage, file: HookFile) -> Program:
        hooks = self._config.hooks
        if stage is Stage.POST_DATA:
            timeout_s = hooks.post_data_timeout.total_seconds()
            return Program(file, Form.V1, POST_DATA_POOL, timeout_s, OnError(hooks.on_error))
        timeout_s = hooks.alias_timeout.total_seconds()
        return Program(file, Form.V1, ALIAS_POOL, timeout_s, OnError.TEMPFAIL)


def program_of(pool: int, declared: DeclaredHook) -> Program:
    """The program of a declaration; its file is looked at."""
    if declared.is_elsewhere:
        file = HookFile(declared.name, declared.target, NOTHING)
        return _declared_program(pool, declared, file)
    try:
        file = hook_file(declared.name, declared.target, Path(declared.target).stat())
    except OSError as error:
        problem = error.strerror or "it cannot be looked at"
        file = HookFile(declared.name, declared.target, NOTHING, problem=problem)
    return _declared_program(pool, declared, file)


def _declared_program(pool: int, declared: DeclaredHook, file: HookFile) -> Program:
    return Program(
        file,
        Form.V2,
        pool,
        declared.timeout.total_seconds(),
        OnError(declared.on_error),
        declared.arguments,
        declared.run_as,
        declared.form,
        "" if declared.settings == FreeTable() else declared.settings.json,
    )
