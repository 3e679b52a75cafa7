"""Reader of the `[[hook]]` tables of `relevo.toml`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

from relevo.config.convert import convert, nearest
from relevo.config.hook_model import DeclaredHook
from relevo.config.hook_target import SERVICE_FORMS, STAGES_OF, BadTarget, service_address
from relevo.config.schema import HOOK_KEYS, HOOK_TABLE
from relevo.config.settings import Reading
from relevo.config.toml_lines import Path
from relevo.hooks.contract import Stage

MAX_HOOKS = 30


def read_hook_tables(reading: Reading, lines: dict[Path, int], raw: Any) -> None:
    """Add every declared hook to `reading`, or what is wrong with it."""
    line = lines[HOOK_TABLE,]
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        text = "not an array of tables"
        reading.problem(line, HOOK_TABLE, text, f"write [[{HOOK_TABLE}]] above its keys")
        return
    if len(raw) > MAX_HOOKS:
        reading.problem(line, HOOK_TABLE, f"{len(raw)} hooks are declared", f"at most {MAX_HOOKS}")
        return
    for index, table in enumerate(raw):
        _read_table(reading, lines, index, table)


def _read_table(
    reading: Reading, lines: dict[Path, int], index: int, table: dict[str, Any]
) -> None:
    found = Reading(reading.file)
    for name, value in table.items():
        line = lines[HOOK_TABLE, index, name]
        if key := HOOK_KEYS.get(name):
            found.add(key, line, partial(convert, key, value))
        else:
            near = nearest(name, tuple(HOOK_KEYS))
            hint = f"did you mean {near}?" if near else f"keys are {', '.join(HOOK_KEYS)}"
            found.problem(line, f"{HOOK_TABLE}.{name}", "there is no such key", hint)
    hook = DeclaredHook(**{setting.key.field: setting.value for setting in found.settings})
    if not hook.target and "target" not in table:
        line = lines[HOOK_TABLE, index]
        found.problem(line, f"{HOOK_TABLE}.target", "the hook has no target", "name its program")
    elif hook.form in SERVICE_FORMS:
        _check_service(found, lines, index, table, hook)
    reading.problems += found.problems
    reading.hooks.append(replace(hook, name=hook.name or PurePath(hook.target).name))


def _check_service(
    found: Reading, lines: dict[Path, int], index: int, table: dict[str, Any], hook: DeclaredHook
) -> None:
    try:
        service_address(hook.form, hook.target)
    except BadTarget as error:
        line = lines[HOOK_TABLE, index, "target"]
        text = f"{hook.target!r} is no target of the form {hook.form}"
        found.problem(line, f"{HOOK_TABLE}.target", text, str(error))
    stages = STAGES_OF.get(hook.form)
    if stages is not None and Stage(hook.stage) not in stages:
        line = lines[HOOK_TABLE, index, "stage" if "stage" in table else "form"]
        text = f"the form {hook.form} cannot be asked at {hook.stage}"
        names = ", ".join(sorted(stage.value for stage in stages))
        found.problem(line, f"{HOOK_TABLE}.stage", text, f"write {names}")
