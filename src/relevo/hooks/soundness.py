"""Why a hook would fail at every call, found without calling it.

For `relevo check` and `relevo hook list`. What is found here is told to the operator only; the
server finds out by trying, so that an edit counts at once.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.config.hook_target import SERVICE_FORMS, is_module
from relevo.hook.settings import BadSettings, read_settings, settings_type

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.hooks.programs import Program

READY = "relevo.hook.ready."
_FIRST_LINE = 256  # octets that the kernel reads of a script's first line


def find_fault(config: Config, program: Program) -> str:
    """What is wrong with the program, "" when nothing was found."""
    file = program.file
    if program.kind in SERVICE_FORMS:
        return ""  # whether it is there is seen by asking it
    if is_module(program.kind, file.path):
        return _fault_of_module(file.path, program.settings)
    if file.problem:
        return file.problem
    if program.kind != "python" and not os.access(file.path, os.X_OK):
        return "it has no run bit (chmod +x)"
    if file.is_writable_by_others and config.hooks.writable_by_others == "refuse":
        return "others may write to it (chmod o-w)"
    if program.kind == "python":
        return "" if os.access(file.path, os.R_OK) else "it cannot be read"
    return _fault_of_script(file.path)


def _fault_of_module(name: str, settings: str) -> str:
    """Settings are looked at of our own hooks only: to do it the module must be run."""
    try:
        if find_spec(name) is None:
            return f"there is no Python module {name}"
    except ImportError:
        return f"there is no Python module {name}"
    kind = settings_type(import_module(name)) if name.startswith(READY) else None
    if kind is not None:
        try:
            read_settings(kind, settings)
        except BadSettings as error:
            return str(error)
    return ""


def _fault_of_script(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            start = file.read(_FIRST_LINE)
    except OSError:
        return ""  # a program may be run without being readable
    if not start.startswith(b"#!"):
        return "it is a script whose first line is not #!" if _is_text(start) else ""
    line = start[2:].partition(b"\n")[0]
    if line.endswith(b"\r"):
        return "its lines end in CRLF"  # the CR would be part of the interpreter's name
    words = line.split()
    if not words:
        return "nothing follows #! in its first line"
    interpreter = os.fsdecode(words[0])
    return "" if Path(interpreter).exists() else f"its interpreter {interpreter} is not there"


def _is_text(start: bytes) -> bool:
    """Programs that are no scripts have zero octets early; an empty file is an empty script."""
    return b"\0" not in start
