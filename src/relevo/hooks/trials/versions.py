"""Which program a replay runs: a hook by its name, or a file that is not installed yet.

A version stands for a hook of the configuration (`place`): it is asked what that one was asked,
and has its limits and settings where it has none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.config.hook_model import DeclaredHook
from relevo.hooks.contract import OnError, Stage
from relevo.hooks.files import hook_file
from relevo.hooks.programs import Form, Program, Programs, program_of
from relevo.hooks.settings import FIRST_DECLARED_POOL, POST_DATA_POOL

if TYPE_CHECKING:
    from relevo.config import Config

V1 = "v1"
FILE_FORMS = ("exec", "worker", "python", V1)
"""What a file may be; `v1` is a program as in `hooks/`, the others have contract v2."""

_PATIENCE = timedelta(minutes=5)
_ALIAS_STAGES = frozenset({Stage.ALIAS_EXISTS, Stage.ALIAS_RESOLVE})


class NoVersion(Exception):
    """It cannot be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Version:
    """A hook to run. Of `declared` and `program` one is there: the latter has contract v1.

    `place`: the live hook that it stands for, "" for the whole stage.
    """

    name: str
    stage: Stage
    place: str
    declared: DeclaredHook | None = None
    program: Program | None = None


def find_version(
    config: Config, text: str, *, stands_for: str = "", stage: str = "", form: str = ""
) -> Version:
    """The version that `text` names: a hook, else the path of a file. Raises NoVersion."""
    version = _of_name(config, text)
    if version is None:
        version = _of_file(config, Path(text), stands_for, stage, form)
    elif stands_for:
        version = replace(version, place=stands_for)
    if version.stage in _ALIAS_STAGES:
        raise NoVersion(f"nothing is kept of {version.stage.value}, so it cannot be replayed")
    return version


def replay_config(config: Config, versions: list[Version]) -> Config:
    """The configuration of a host that runs these alone, with the limits that they have live.

    They leave processor time to hooks that decide about mail, so they may wait for long; a pause,
    or a busy machine, would be taken for a difference.
    """
    hooks = tuple(replace(_declared(each), shadow=True, shadow_of="") for each in versions)
    return replace(
        config,
        hook=hooks,
        hooks=replace(config.hooks, breaker_failures=0, slot_timeout=_PATIENCE),
        server=replace(config.server, workers=1),
    )


def programs_of(config: Config, versions: list[Version]) -> list[Program]:
    """What is run, on a host of `replay_config`."""
    return [
        version.program or program_of(FIRST_DECLARED_POOL + number, config.hook[number])
        for number, version in enumerate(versions)
    ]


def _declared(version: Version) -> DeclaredHook:
    if version.declared is not None:
        return version.declared
    assert version.program is not None
    return DeclaredHook(name=version.name, target=version.program.file.path)


def _of_name(config: Config, name: str) -> Version | None:
    for declared in config.hook:
        if declared.name == name:
            place = declared.shadow_of or declared.canary_of
            if not declared.is_variant:
                place = name
            return Version(name, Stage(declared.stage), place, declared=declared)
    for program in Programs(config).of(Stage.POST_DATA):
        if program.name == name:
            return Version(name, Stage.POST_DATA, name, program=program)
    return None


def _of_file(config: Config, path: Path, stands_for: str, stage: str, form: str) -> Version:
    live = _of_name(config, stands_for) if stands_for else None
    if stands_for and live is None:
        raise NoVersion(f"no hook is called {stands_for!r}; `relevo hook list` shows them")
    try:
        status = path.stat()
    except OSError as error:
        reason = error.strerror or "it cannot be looked at"
        raise NoVersion(
            f"{str(path)!r} is no hook of the configuration, as file: {reason}"
        ) from error
    model = live.declared if live is not None else None
    if not form:
        form = _usual_form(path, live)
    chosen = Stage(stage) if stage else live.stage if live is not None else Stage.POST_DATA
    name, place = str(path), stands_for
    if form == V1:
        if chosen is not Stage.POST_DATA:
            raise NoVersion(f"contract v1 has no stage {chosen.value} that is kept")
        file = hook_file(name, str(path.resolve()), status)
        hooks = config.hooks
        timeout_s = hooks.post_data_timeout.total_seconds()
        program = Program(file, Form.V1, POST_DATA_POOL, timeout_s, OnError(hooks.on_error))
        return Version(name, chosen, place, program=program)
    declared = replace(
        model if model is not None and not model.is_service else DeclaredHook(),
        name=name,
        stage=chosen.value,
        form=form,
        target=str(path.resolve()),
    )
    return Version(name, chosen, place, declared=declared)


def _usual_form(path: Path, live: Version | None) -> str:
    """A file's own where it says so, else that of the hook that it stands for."""
    if path.suffix == ".py":
        return "python"
    if live is not None and live.program is not None:
        return V1
    if live is not None and live.declared is not None and live.declared.form in FILE_FORMS:
        return "exec" if live.declared.form == "python" else live.declared.form
    return "exec"
