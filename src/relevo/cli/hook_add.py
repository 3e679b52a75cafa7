"""`relevo hook add`: the declaration of a ready-made hook, put at the end of relevo.toml."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import click

from relevo.cli.options import load_config
from relevo.config.convert import nearest
from relevo.config.relevo_toml import read_relevo_toml
from relevo.hook.ready.catalogue import READY_HOOKS, ReadyHook, ready_hook
from relevo.hooks.contract import Stage

RELEVO_TOML = "relevo.toml"


def ready_list() -> str:
    """The names, and what each is for."""
    return "\n".join(
        f"{each.name:<14} {', '.join(stage.value for stage in each.stages):<27} {each.summary}"
        for each in READY_HOOKS
    )


def add_ready_hook(config_dir: Path, name: str, stage: Stage | None, *, is_dry: bool) -> None:
    """Declare it, unless it is; say what is to be done next. Raises ClickException."""
    chosen = ready_hook(name)
    if chosen is None:
        near = nearest(name, tuple(each.name for each in READY_HOOKS))
        hint = f"did you mean {near}?" if near else "--list shows them"
        raise click.UsageError(f"there is no ready-made hook {name!r}; {hint}")
    stage = stage or chosen.stages[0]
    if stage not in chosen.stages:
        names = ", ".join(each.value for each in chosen.stages)
        raise click.UsageError(f"{name} cannot be asked at {stage.value}; it knows {names}")
    config = load_config(config_dir, ())
    path = (config.config_dir / RELEVO_TOML).resolve()
    if any((each.target, each.stage) == (chosen.module, stage.value) for each in config.hook):
        click.echo(f"{name} is declared in {path} already; nothing was changed")
        return
    tables = chosen.declaration(stage, str(config.data_dir))
    if is_dry:
        click.echo(tables, nl=False)
        return
    _append(path, tables)
    click.echo(f"added to {path}:\n\n{tables}\n{_next_steps(chosen, path)}")


def _next_steps(chosen: ReadyHook, path: Path) -> str:
    steps = [
        f"look at the settings in {path}",
        *chosen.next_steps,
        "relevo check && relevo reload",
    ]
    return "Next:\n" + "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, 1))


def _append(path: Path, tables: str) -> None:
    """A new file in place of the old one, with the same owner and mode; never half of one."""
    try:
        old = path.read_text() if path.exists() else ""
        text = f"{old.rstrip()}\n\n{tables}".lstrip("\n")
        if problems := read_relevo_toml(text.encode(), str(path)).problems:
            raise click.ClickException(f"nothing was changed: {problems[0]}")
        with NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            new = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                _like(path if path.exists() else path.parent, new)
                new.replace(path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


def _like(pattern: Path, new: Path) -> None:
    """Readable by who could read it before."""
    status = pattern.stat()
    new.chmod(status.st_mode & 0o666 if pattern.is_file() else 0o644)
    if os.geteuid() == 0:
        os.chown(new, status.st_uid, status.st_gid)
