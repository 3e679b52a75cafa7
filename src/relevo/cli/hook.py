"""`relevo hook`: which programs are hooks, and what one does with a message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from relevo.cli.canary_text import canary_text
from relevo.cli.command import Group
from relevo.cli.hook_trials import canary, replay_hook, shadow_report
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.hooks.alone import own_host
from relevo.hooks.contract import Stage
from relevo.hooks.programs import Program, Programs
from relevo.hooks.soundness import find_fault
from relevo.mailauth.spf.result import SpfOutcome
from relevo.service.control import NotRunning, ask

if TYPE_CHECKING:
    from relevo.config import Config

SPF_RESULTS = [outcome.value for outcome in SpfOutcome]
MAX_PORT = 65535
STAGES = [stage.value for stage in Stage]


@click.group(cls=Group)
def hook() -> None:
    """List hooks, try one with a message or an address, or start a new one.

    Hooks are described in docs/reference/hooks.md.
    """


@hook.command(
    "list",
    examples=(
        "relevo hook list",
        "relevo hook list --json",
    ),
)
@json_option
@config_dir_option
@set_option
def list_hooks(as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """List the hooks in the order in which they are called.

    Exit code 1 when one of them cannot be run.
    """
    config = load_config(config_dir, overrides)
    programs = Programs(config)
    rows = []
    for stage in Stage:
        rows += [_row(config, programs, stage, program) for program in programs.of(stage)]
        rows += [
            {**_row(config, programs, stage, program), "role": declared.role}
            for declared, program in programs.variants(stage)
        ]
    states = _canaries(config)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for row in rows:
            problem = f"  PROBLEM: {row['problem']}" if row["problem"] else ""
            click.echo(
                f"{row['stage']:<14} {row['contract']} {row['form']:<6}  {row['name']}  "
                f"{row['version']}  at most {row['timeout_s']:g} s, "
                f"on error {row['on_error']}{problem}"
                + (f"  ({row['role']})" if row["role"] else "")
            )
        for state in states:
            click.echo(canary_text(state))
        if not rows:
            click.echo(f"there are no hooks in {config.config_dir / 'hooks'}, and none declared")
    if any(row["problem"] for row in rows):
        sys.exit(EXIT_NO)


def _row(config: Config, programs: Programs, stage: Stage, program: Program) -> dict[str, Any]:
    return {
        "stage": stage.value,
        "contract": program.form.value,
        "form": program.kind,
        "name": program.name,
        "path": program.file.path,
        "version": programs.folder.version(program.file),
        "timeout_s": program.timeout_s,
        "on_error": program.on_error.value,
        "run_as": program.run_as,
        "role": "",
        "problem": find_fault(config, program),
    }


def _canaries(config: Config) -> list[dict[str, Any]]:
    """What a running server knows of them."""
    if any(declared.canary_of for declared in config.hook):
        with contextlib.suppress(NotRunning):
            states: list[dict[str, Any]] = ask(config.data_dir, "status").get("canaries", [])
            return states
    return []


@hook.command(
    "new",
    examples=(
        "relevo hook new post-data",
        "relevo hook new rcpt --name members",
    ),
)
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--name", metavar="NAME", help="Of the file. Default: that of the stage.")
@config_dir_option
def new_hook(stage: str, name: str | None, config_dir: Path) -> None:
    """Write a hook in Python to start from, and its test.

    They are put into `hooks/` of the configuration directory; what stands there already is kept.
    """
    from relevo.hook.starter import starter, starter_test  # noqa: PLC0415

    name = name or stage.replace("-", "_")
    if not name.isidentifier():
        raise click.BadParameter(f"{name!r} must be a name in Python", param_hint="--name")
    folder = config_dir / "hooks"
    files = {
        folder / f"{name}.py": starter(Stage(stage), f"hooks/{name}.py"),
        folder / f"test_{name}.py": starter_test(Stage(stage), name),
    }
    if there := [path for path in files if path.exists()]:
        raise click.ClickException(f"{there[0]} is there already; choose another --name")
    try:
        folder.mkdir(exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
            click.echo(f"wrote {path}")
    except OSError as error:
        raise click.ClickException(f"cannot write below {folder}: {error.strerror}") from error
    click.echo(
        f'\nTo use it, add to {config_dir}/relevo.toml:\n\n[[hook]]\nstage = "{stage}"\n'
        f'form = "python"\ntarget = "hooks/{name}.py"\n'
    )


@hook.command(
    "add",
    examples=(
        "relevo hook add --list",
        "relevo hook add rspamd",
        "relevo hook add dns-lists --stage connect --dry-run",
    ),
)
@click.argument("name", required=False)
@click.option("--list", "is_list", is_flag=True, help="Show the names, and what each is for.")
@click.option("--stage", type=click.Choice(STAGES), help="Where a hook knows several.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@config_dir_option
def add_hook(
    name: str | None, is_list: bool, stage: str | None, dry_run: bool, config_dir: Path
) -> None:
    """Declare a ready-made hook: a scanner, greylisting, aliases in a database, and others.

    A `[[hook]]` is put at the end of relevo.toml, with its settings. What is declared already is
    left as it is.
    """
    from relevo.cli.hook_add import add_ready_hook, ready_list  # noqa: PLC0415

    if is_list:
        click.echo(ready_list())
    elif name is None:
        raise click.UsageError("name a hook; --list shows them")
    else:
        add_ready_hook(config_dir, name, Stage(stage) if stage else None, is_dry=dry_run)


@hook.command(
    "test",
    examples=(
        "relevo hook test post-data",
        "relevo hook test post-data --message mail.eml --from ann@example.net --spf pass",
        "relevo hook test mail --from ann@example.net --client 192.0.2.7:40123",
        "relevo hook test alias-resolve --to info@example.org",
    ),
)
@click.argument("stage", type=click.Choice(STAGES))
@click.option(
    "--message",
    type=click.File("rb"),
    metavar="FILE",
    help="The message, from the header on; `-` is standard input. Default: a short one.",
)
@click.option(
    "--from",
    "sender",
    metavar="ADDRESS",
    default="ann@example.net",
    show_default=True,
    help="The reverse-path.",
)
@click.option(
    "--to",
    "recipients",
    metavar="ADDRESS",
    multiple=True,
    help="A forward-path, or the address to look up; may be repeated.",
)
@click.option("--auth", metavar="USER", default="", help="Who has logged in.")
@click.option(
    "--client",
    metavar="IP:PORT",
    default="192.0.2.7:40123",
    show_default=True,
    callback=lambda _context, _option, value: _client(value),
    help="The peer.",
)
@click.option(
    "--hello",
    metavar="NAME",
    default="mail.example.net",
    show_default=True,
    help="Its EHLO name.",
)
@click.option("--tls", is_flag=True, help="As if on an encrypted connection.")
@click.option(
    "--spf",
    type=click.Choice(SPF_RESULTS),
    default="none",
    show_default=True,
    help="The result of SPF.",
)
@click.option(
    "--tag",
    "tags",
    metavar="TAG",
    multiple=True,
    help="A tag that a hook of an earlier stage gave; may be repeated.",
)
@click.option(
    "--route",
    metavar="ROUTE",
    default="local",
    show_default=True,
    help="How the message is delivered: `local`, `mx:DOMAIN`, `via:SERVER`.",
)
@click.option(
    "--env",
    "variables",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set a variable; may be repeated.",
)
@json_option
@config_dir_option
@set_option
def try_hooks(
    stage: str,
    message: BinaryIO | None,
    sender: str,
    recipients: tuple[str, ...],
    auth: str,
    client: str,
    hello: str,
    tls: bool,
    spf: str,
    tags: tuple[str, ...],
    route: str,
    variables: tuple[str, ...],
    as_json: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Run the hooks of a stage as the server does, and show everything.

    Shown are environment, arguments, input, output, standard error, verdict and time of each, and
    the exact reply that the client would get. Nothing is queued, and no server needs to run.
    Exit code 1 when the answer is not positive.
    """
    from relevo.cli.hook_stage_trial import try_stage  # noqa: PLC0415
    from relevo.cli.hook_trial import Facts, try_alias_stage, try_post_data  # noqa: PLC0415

    config = load_config(config_dir, overrides)
    facts = Facts(
        sender=sender,
        recipients=recipients or (f"postmaster@{config.hostname}",),
        auth=auth,
        client=client,
        hello=hello,
        is_tls=tls,
        spf=spf,
        tags=tags,
        route=route,
        variables=_variables(variables),
        message=message.read() if message is not None else None,
    )
    chosen = Stage(stage)
    with own_host(config) as sockets:
        if chosen is Stage.POST_DATA:
            trial = asyncio.run(try_post_data(config, sockets, facts))
        elif not chosen.has_files:
            trial = asyncio.run(try_stage(config, sockets, chosen, facts))
        else:
            trial = asyncio.run(try_alias_stage(config, sockets, chosen, facts))
    click.echo(
        json.dumps(trial.as_dict(), indent=2, ensure_ascii=False) if as_json else trial.text()
    )
    if not trial.is_positive:
        sys.exit(EXIT_NO)


hook.add_command(replay_hook)
hook.add_command(shadow_report)
hook.add_command(canary)


def _client(text: str) -> str:
    host, _, port = text.rpartition(":")
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
        is_right = 0 <= int(port) <= MAX_PORT
    except ValueError:
        is_right = False
    if not is_right:
        example = "192.0.2.7:40123 or [2001:db8::7]:40123"
        raise click.BadParameter(f"{text!r} is not IP:PORT; write for example {example}")
    return text


def _variables(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.UsageError(f"{name!r} sets no variable; write NAME=VALUE")
    return {name: value for name, _, value in pairs}
