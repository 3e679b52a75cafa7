"""`relevo hook shadow-report`, `replay` and `canary`: new versions of hooks on real mail."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relevo.cli.command import Command, Group
from relevo.cli.options import (
    EXIT_CONFIG,
    EXIT_NO,
    config_dir_option,
    json_option,
    load_config,
    set_option,
)
from relevo.cli.phrases import count, moment
from relevo.cli.queue_choice import seconds
from relevo.cli.trial_text import difference_text
from relevo.hooks.contract import Stage
from relevo.hooks.trials.versions import FILE_FORMS

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.hooks.trials.replay import ReplayResult
    from relevo.hooks.trials.shadow_report import ShadowReport
    from relevo.hooks.trials.versions import Version

_STAGES = [stage.value for stage in Stage if stage not in {Stage.ALIAS_EXISTS, Stage.ALIAS_RESOLVE}]


class _NothingKept(click.ClickException):
    """There is no mail to replay."""

    exit_code = EXIT_CONFIG


@click.command(
    "shadow-report",
    cls=Command,
    examples=(
        "relevo hook shadow-report",
        "relevo hook shadow-report new-filter --since 24h",
        "relevo hook shadow-report --json",
    ),
)
@click.argument("hook", required=False)
@click.option("--since", callback=seconds, metavar="AGE", help="Only of the last 24h, 7d …")
@json_option
@config_dir_option
@set_option
def shadow_report(
    hook: str | None,
    since: float | None,
    as_json: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """What shadows would have done differently, message by message.

    HOOK is a shadow; without it, all of them. Listed is every message about which a shadow and the
    live hooks differ, as long as `hooks.shadow_keep` says. Exit code 1 when there is one.
    """
    from relevo.hooks.trials.shadow_report import read_report  # noqa: PLC0415

    config = load_config(config_dir, overrides)
    begin = 0.0 if since is None else time.time() - since
    begin = max(begin, time.time() - config.hooks.shadow_keep.total_seconds())
    reports = read_report(config.data_dir, begin, hook or "")
    if as_json:
        rows = [report.as_dict() for report in reports]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for report in reports:
            click.echo(_report_text(report))
        if not reports:
            click.echo("no shadow was asked anything in that time")
    if any(report.different for report in reports):
        sys.exit(EXIT_NO)


def _report_text(report: ShadowReport) -> str:
    beside = report.live or f"all hooks of {report.stage}"
    parts = [
        f"{report.hook}, a shadow of {beside}, {moment(report.first)} to {moment(report.last)}",
        (
            f"{count(report.calls, 'call')}: {report.equal} equal, {report.different} different; "
            f"{report.errors} failed, {report.dropped} dropped"
        ),
    ]
    if report.unlisted:
        parts.append(f"{report.unlisted} of those that differ found no room and are not listed")
    for each in report.listed:
        found = each.found
        words = (each.time, found.message_id, found.about, found.compared)
        parts.append("\n" + difference_text(*words, live="live", other="shadow"))
    return "\n".join(parts) + "\n"


@click.command(
    "replay",
    cls=Command,
    examples=(
        "relevo hook replay filter --since 24h",
        "relevo hook replay ./filter-new.py --of filter",
        "relevo hook replay ./filter-new.py --of filter --against ./filter-old.py --json",
        "relevo hook replay filter --message 1j9x2k-3f0a",
    ),
)
@click.argument("hook")
@click.option(
    "--since", callback=seconds, default="24h", show_default=True, metavar="AGE",
    help="How far back.",
)  # fmt: skip
@click.option("--message", "ids", metavar="ID", multiple=True, help="Only this; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The latest N only.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=4, show_default=True, help="Calls at once."
)
@click.option(
    "--of", "stands_for", metavar="NAME", default="",
    help="The hook that a file is a version of: it gets that one's questions, limits, settings.",
)  # fmt: skip
@click.option("--against", metavar="HOOK", help="Compare with this, not with what was recorded.")
@click.option("--stage", type=click.Choice(_STAGES), help="Of a file. Default: --of's, post-data.")
@click.option(
    "--form", type=click.Choice(FILE_FORMS), help="Of a file. Default: by its name, or --of's."
)
@json_option
@config_dir_option
@set_option
def replay_hook(
    hook: str,
    since: float,
    ids: tuple[str, ...],
    limit: int | None,
    jobs: int,
    stands_for: str,
    against: str | None,
    stage: str | None,
    form: str | None,
    as_json: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Run a hook over mail that was kept, and show what it would do differently.

    HOOK is the name of a hook, or a file with a version that is not installed. It is asked what the
    hooks were asked when the mail came (`replay.keep` says for how long that is kept), under the
    same limits, and nothing of what it answers is done. What it does outside, in a database or over
    the network, it does again: `RELEVO_HOOK_TRIAL` in its environment is `replay`. Exit code 1 when
    it differs.
    """
    config = load_config(config_dir, overrides)
    versions = _versions(config, hook, stands_for, against, stage or "", form or "")
    begin = time.time() - since
    if config.replay.keep:
        begin = max(begin, time.time() - config.replay.keep.total_seconds())
    result = _replayed(config, versions, begin, frozenset(ids), limit, jobs)
    if not result.calls and not result.skipped:
        _nothing_there(config, versions[0].stage)
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(_result_text(versions[0].name, against or "recorded", result))
    if result.different:
        sys.exit(EXIT_NO)


def _versions(
    config: Config, hook: str, stands_for: str, against: str | None, stage: str, form: str
) -> list[Version]:
    from relevo.hooks.trials.versions import NoVersion, find_version  # noqa: PLC0415

    try:
        versions = [find_version(config, hook, stands_for=stands_for, stage=stage, form=form)]
        if against is not None:
            place = stands_for or versions[0].place
            versions.append(find_version(config, against, stands_for=place, stage=stage))
    except NoVersion as error:
        raise click.UsageError(str(error)) from error
    if versions[-1].stage is not versions[0].stage:
        raise click.UsageError(
            f"{versions[0].name} is asked at {versions[0].stage.value}, "
            f"{versions[-1].name} at {versions[-1].stage.value}"
        )
    return versions


def _replayed(
    config: Config,
    versions: list[Version],
    begin: float,
    ids: frozenset[str],
    limit: int | None,
    jobs: int,
) -> ReplayResult:
    from relevo.hooks.alone import own_host  # noqa: PLC0415
    from relevo.hooks.trials.replay import read_kept, replay  # noqa: PLC0415
    from relevo.hooks.trials.versions import replay_config  # noqa: PLC0415

    mail = read_kept(config.data_dir, versions[0].stage, begin, message_ids=ids, limit=limit)
    alone = replay_config(config, versions)
    with own_host(alone) as sockets:
        return asyncio.run(replay(alone, sockets, versions, mail, jobs))


def _nothing_there(config: Config, stage: Stage) -> None:
    text = f"nothing that fits is kept of {stage.value} in {config.data_dir}"
    if not config.replay.keep:
        text += '; set `keep = "7d"` below [replay], reload, and wait for mail'
    raise _NothingKept(text)


def _result_text(name: str, against: str, result: ReplayResult) -> str:
    parts = [
        difference_text(
            each.time, each.message_id, each.about, each.compared, live=against, other=name
        )
        + ("\n  (its body was not kept as it came)" if each.is_redacted else "")
        + "\n"
        for each in result.differences
    ]
    summary = (
        f"{count(result.calls, 'call')}: {result.equal} equal, {result.different} different; "
        f"{result.errors} failed, {result.skipped} not asked of the hook when they came"
    )
    if result.redacted:
        summary += f"; {result.redacted} without their text"
    return "\n".join((*parts, summary))


@click.group(cls=Group)
def canary() -> None:
    """New versions of hooks that answer for a share of the mail."""


@canary.command("reset", examples=("relevo hook canary reset new-filter",))
@click.argument("name")
@config_dir_option
@set_option
def reset_canary(name: str, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Ask a canary again that was given up because it failed too often.

    What was counted of it is forgotten. Exit code 1 when the server knows no such canary, 4 when
    none is running.
    """
    from relevo.service.control import ask  # noqa: PLC0415

    config = load_config(config_dir, overrides)
    if not ask(config.data_dir, f"canary-reset {name}")["was_reset"]:
        known = ", ".join(each.name for each in config.hook if each.canary_of) or "none"
        click.echo(f"nothing was counted of a canary {name!r} yet; declared are: {known}", err=True)
        sys.exit(EXIT_NO)
    click.echo(f"{name} is asked about its share of the mail again")
