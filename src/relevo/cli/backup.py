"""`relevo backup`: a consistent copy of the data directory, while the server runs."""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Literal

import click

from relevo.cli.command import Command
from relevo.cli.options import EXIT_CONFIG, config_dir_option, load_config, set_option
from relevo.cli.phrases import count
from relevo.hooks.trials.records import kept_mail_folder
from relevo.queue.backup import back_up
from relevo.queue.disk import Disk
from relevo.queue.slices import copy_slices

_ARCHIVES: dict[str, Literal["w:", "w:gz"]] = {".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz"}


@click.command(
    cls=Command,
    examples=(
        "relevo backup /srv/backup/relevo-$(date +%F)",
        "relevo backup /srv/backup/relevo-$(date +%F).tar.gz",
    ),
)
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--with-kept-mail", is_flag=True, help="Also what `[replay]` keeps to try hooks on; else not."
)
@config_dir_option
@set_option
def backup(
    target: Path, with_kept_mail: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """Copy queue and history to TARGET, consistently, also while the server runs.

    TARGET is a directory, or a file that ends in .tar, .tar.gz or .tgz; it must not exist yet, and
    appears when the copy is complete. Put it back as `data_dir` to restore. Exit code 3 when a
    waiting message is damaged; the copy has it as it is.
    """
    data_dir = load_config(config_dir, overrides).data_dir
    if target.exists():
        raise click.UsageError(f"{target} exists already: name a new place")
    if not target.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {target.absolute().parent}: make it first")
    with tempfile.TemporaryDirectory(prefix=".relevo-backup-", dir=target.parent) as name:
        folder = Path(name) / "data"
        folder.mkdir(mode=0o700)
        found = back_up(data_dir, folder)
        if with_kept_mail:
            copy_slices(kept_mail_folder(data_dir), kept_mail_folder(folder))
        _appear(folder, target)
    Disk().sync_directory(target.absolute().parent)
    click.echo(f"{count(found.messages, 'message')} of {data_dir} copied to {target}")
    for identity in found.damaged:
        click.echo(f"relevo: {identity} is damaged: its content cannot be read", err=True)
    if found.damaged:
        sys.exit(EXIT_CONFIG)


def _appear(folder: Path, target: Path) -> None:
    """The complete copy under its name, as what the name says."""
    mode = next((mode for end, mode in _ARCHIVES.items() if target.name.endswith(end)), None)
    if mode is None:
        folder.rename(target)
        return
    archive = folder.with_name("archive")
    archive.touch(mode=0o600)
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, "data")
    with archive.open("rb") as file:
        Disk().sync(file.fileno())
    archive.rename(target)
