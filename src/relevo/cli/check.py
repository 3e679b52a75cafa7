"""`relevo check`: everything that can be said about a config directory on this machine alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import click

from relevo.cli.command import Command
from relevo.cli.options import EXIT_CONFIG, config_dir_option, json_option, set_option
from relevo.cli.phrases import count
from relevo.config import (
    Config,
    ConfigErrors,
    Problem,
    Severity,
    check_local,
    find_certificates,
    load,
)
from relevo.directory import Directory, DirectoryErrors, DirectoryWatcher
from relevo.hooks.contract import Stage
from relevo.hooks.programs import Programs
from relevo.hooks.protections import protections
from relevo.hooks.sandbox_trial import check_sandboxes
from relevo.hooks.soundness import find_fault
from relevo.queue import DatabaseError
from relevo.queue.database import check_library


@dataclass(frozen=True, slots=True)
class _Findings:
    """What is wrong, and what there is; `config` and `directory` are None when they are broken."""

    problems: tuple[Problem, ...]
    config: Config | None = None
    directory: Directory | None = None

    def count(self, severity: Severity) -> int:
        return sum(problem.severity is severity for problem in self.problems)


@click.command(
    cls=Command,
    examples=(
        "relevo check",
        "relevo check --config-dir /etc/chasquid",
        "relevo check --json",
    ),
)
@json_option
@config_dir_option
@set_option
def check(as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Look for mistakes in a config directory.

    Reads the configuration, users, aliases, certificates and keys, looks at hooks without calling
    them, and asks no other machine. Each finding is a line `file:line: text`. Exit code 3 when an
    error would keep the server from starting; warnings alone are 0.
    """
    findings = _examine(config_dir, overrides)
    if as_json:
        click.echo(json.dumps([_plain(one) for one in findings.problems], indent=2))
    else:
        for problem in findings.problems:
            click.echo(_line(problem))
        if findings.config is not None and _has_hooks(findings.config):
            click.echo(f"hooks: {'; '.join(protections(findings.config))}")
        click.echo(_summary(findings))
    sys.exit(EXIT_CONFIG if findings.count(Severity.ERROR) else 0)


def _examine(config_dir: Path, overrides: tuple[str, ...]) -> _Findings:
    library = tuple(_library())
    try:
        config = load(config_dir, overrides)
    except ConfigErrors as error:
        return _Findings((*error.problems, *library))
    problems = [*config.warnings, *check_local(config), *_hooks(config), *library]
    try:
        directory = DirectoryWatcher(config).current
    except DirectoryErrors as error:
        # a folder that is amiss as a whole has been named by check_local
        named = {problem.file for problem in problems if not problem.line}
        problems += [
            Problem(str(one.path), one.line, "", one.text)
            for one in error.problems
            if one.line or str(one.path) not in named
        ]
        return _Findings(tuple(problems), config)
    problems += _aliases(directory)
    if directory.postmaster() is None:
        text = "nobody gets the mail for postmaster, which RFC 5321 §4.5.1 demands"
        hint = "set `postmaster`, or add an alias `postmaster` to the first domain"
        file = config.source[0]
        problems.append(Problem(file, 0, "postmaster", text, hint, Severity.WARNING))
    return _Findings(tuple(problems), config, directory)


def _has_hooks(config: Config) -> bool:
    programs = Programs(config)
    return any(programs.of(stage) for stage in Stage)


def _hooks(config: Config) -> Iterator[Problem]:
    programs = Programs(config)
    for stage in Stage:
        variants = [program for _, program in programs.variants(stage)]
        for program in programs.of(stage) + variants:
            if fault := find_fault(config, program):
                text = f"the {stage.value} hook cannot be run: {fault}"
                yield Problem(program.file.path, 0, "", text, severity=Severity.WARNING)
    try:
        check_sandboxes(config)
    except OSError as error:
        yield Problem(config.source[0] if config.source else "hooks", 0, "sandbox", str(error))


def _aliases(directory: Directory) -> Iterator[Problem]:
    for folder, address, error in directory.broken_aliases():
        text = f"mail for {address.plain} is answered 451: {error}"
        yield Problem(str(folder / "aliases"), 0, "", text, severity=Severity.WARNING)


def _library() -> Iterator[Problem]:
    try:
        check_library()
    except DatabaseError as error:
        yield Problem("SQLite", 0, "", str(error))


def _line(problem: Problem) -> str:
    """`file:line: warning: key: text (hint)`; errors have no word of their own."""
    if problem.severity is Severity.ERROR:
        return str(problem)
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    return f"{place}: warning{str(problem).removeprefix(place)}"


def _summary(findings: _Findings) -> str:
    parts = []
    if findings.config is not None:
        certificates, _ = find_certificates(findings.config.config_dir)
        parts.append(count(len(certificates), "certificate"))
    if findings.directory is not None:
        parts.append(count(len(findings.directory.domains), "domain") + " (localhost included)")
    parts.append(f"SQLite {apsw.sqlite_lib_version()}")
    errors, warnings = findings.count(Severity.ERROR), findings.count(Severity.WARNING)
    verdict = "no problems"
    if errors or warnings:
        verdict = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
    return f"{verdict}; {', '.join(parts)}"


def _plain(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "key": problem.key,
        "text": problem.text,
        "hint": problem.hint,
        "severity": problem.severity.value,
    }
