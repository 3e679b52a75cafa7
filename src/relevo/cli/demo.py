"""`relevo demo`: a real server on loopback that shows what it does."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relevo.cli.command import Command
from relevo.cli.demo_site import ADDRESS, DemoSite, prepare
from relevo.cli.first_mail import Login, send_line, submit_line
from relevo.cli.options import load_config, set_option
from relevo.service.listeners import ListenFailed
from relevo.service.supervisor import StartFailed, Supervisor

if TYPE_CHECKING:
    from relevo.config import Config

_PORT = click.IntRange(0, 65535)
_OPTIONS = {
    "listen.smtp": "--smtp-port",
    "listen.submission": "--submission-port",
    "listen.submission_tls": "--submission-tls-port",
}


@click.command(
    cls=Command,
    examples=(
        "relevo demo",
        "relevo demo --smtp-port 2526",
        "relevo demo --data /tmp/try",
    ),
)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-data"),
    show_default=True,
    help="Folder for everything that it writes.",
)
@click.option(
    "--smtp-port", type=_PORT, metavar="PORT", help="Port for mail from outside; 2525 if not given."
)
@click.option(
    "--submission-port", type=_PORT, metavar="PORT", help="Port for users; 5587 if not given."
)
@click.option(
    "--submission-tls-port", type=_PORT, metavar="PORT", help="The same by TLS; 4465 if not given."
)
@set_option
def demo(
    folder: Path,
    smtp_port: int | None,
    submission_port: int | None,
    submission_tls_port: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Try it out: a working server on this machine.

    It has the domain example.test, the user demo@example.test and a self-signed certificate, and
    listens on 127.0.0.1 only. What happens to each message is a line on the terminal. Ctrl-C ends
    it; started again, it has the same mail and password. Port 0 means: any that is free.
    """
    site = prepare(folder)
    ports = zip(_OPTIONS, (smtp_port, submission_port, submission_tls_port), strict=True)
    settings = [f"{key}=127.0.0.1:{port}" for key, port in ports if port is not None]
    load = partial(load_config, folder, (*settings, *overrides))
    supervisor = Supervisor(load)
    supervisor.on_ready = lambda addresses: click.echo(banner(site, addresses))
    try:
        code = supervisor.run()
    except StartFailed as error:
        raise _with_option(error, load()) from error
    click.echo(f"\nStopped. Mail and password stay in {folder}.")
    sys.exit(code)


def _with_option(error: StartFailed, config: Config) -> StartFailed:
    """The same error, but a taken port is said with the option that chooses another."""
    cause = error.__cause__
    if isinstance(cause, ListenFailed) and isinstance(cause.__cause__, OSError):
        key = str(cause).partition(":")[0]
        if cause.__cause__.errno == errno.EADDRINUSE and key in _OPTIONS:
            (address, *_) = getattr(config.listen, key.removeprefix("listen."))
            port = address.rpartition(":")[2]
            option = f"{_OPTIONS[key]} {(int(port) + 1) % 65536}"
            by_make = f'make run ARGS="{option}"'
            return StartFailed(f"port {port} is taken: try {option}, with make: {by_make}")
    return error


def banner(site: DemoSite, addresses: dict[str, list[str]]) -> str:
    """What to read once the server is ready."""
    smtp, submission, by_tls = (
        addresses[key][0] for key in ("smtp", "submission", "submission_tls")
    )
    password = site.password or "(changed since this folder was made)"
    submit = site.password and submit_line(Login(by_tls, ADDRESS, site.password), ADDRESS)
    mailbox = shlex.quote(str(site.mailbox))
    this = shlex.quote("relevo" if shutil.which("relevo") else _own_name())
    at = f"-C {shlex.quote(str(site.folder))}"
    lines = [
        "",
        f"relevo is ready.  User {ADDRESS}, password {password}",
        f"  SMTP {smtp}   submission {submission} (STARTTLS)   {by_tls} (TLS)",
        "",
        "Send a first mail, from another terminal:",
        f"  {send_line(smtp, ADDRESS)}",
        *(("and one as the user, with password and TLS:", f"  {submit}") if submit else ()),
        "See that it arrived, and what happened to it:",
        f"  cat {mailbox}/new/*",
        f"  {this} trace {at} {ADDRESS}",
        "",
        "Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


def _own_name() -> str:
    """How this program was called, as far as it can be called again from here."""
    name = sys.argv[0]
    if name.endswith("__main__.py") or not os.access(name, os.X_OK):
        return str(Path(sys.executable).with_name("relevo"))
    return os.path.relpath(name) if name.startswith(str(Path.cwd())) else name
