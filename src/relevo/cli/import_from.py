"""`relevo import`: take over what another mail server left."""

from __future__ import annotations

import click

from relevo.cli.command import Group


@click.group("import", cls=Group)
def import_from() -> None:
    """Take over what another server left."""
