"""Reader of the `[[hook]]` tables of `relevo.toml`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Any

from relevo.config.array_tables import read_table, tables_of
from relevo.config.hook_model import DeclaredHook
from relevo.config.hook_target import SERVICE_FORMS, STAGES_OF, BadTarget, service_address
from relevo.config.hook_variants import variant_faults
from relevo.config.schema import HOOK_KEYS, HOOK_TABLE
from relevo.config.settings import Reading
from relevo.config.toml_lines import Path
from relevo.hooks.contract import Stage

MAX_HOOKS = 30


def read_hook_tables(reading: Reading, lines: dict[Path, int], raw: Any) -> None:
    """Add every declared hook to `reading`, or what is wrong with it."""
    tables = tables_of(reading, lines, raw, name=HOOK_TABLE, what="hooks", most=MAX_HOOKS)
    first = len(reading.hooks)
    for index, table in enumerate(tables):
        _read_table(reading, lines, index, table)
    for index, (table, hook) in enumerate(zip(tables, reading.hooks[first:], strict=True)):
        others = [other for other in reading.hooks if other is not hook]
        for key, text, hint in variant_faults(hook, others):
            line = lines[(HOOK_TABLE, index, key) if key in table else (HOOK_TABLE, index)]
            reading.problem(line, f"{HOOK_TABLE}.{key}", text, hint)


def _read_table(
    reading: Reading, lines: dict[Path, int], index: int, table: dict[str, Any]
) -> None:
    values, found = read_table(reading.file, lines, (HOOK_TABLE, index), table, HOOK_KEYS)
    hook = DeclaredHook(**values)
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
