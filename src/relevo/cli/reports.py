"""`relevo reports`: what others found about mail that claims to be ours (RFC 9990, RFC 9991)."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from relevo.cli.command import Group
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.cli.report_files import KeptReports, reports_of
from relevo.mailauth.dmarc.failure_reading import FailureReport, arrived
from relevo.mailauth.dmarc.report_reading import AggregateReport, BadReport

_LAST_SECOND = 253_402_300_799  # of the year 9999, the last that a date can have


@click.group(cls=Group)
def reports() -> None:
    """DMARC reports of other servers: import, list and show."""


@reports.command(
    "import",
    examples=(
        "relevo reports import report.xml.gz",
        "relevo reports import /var/mail/relevo/example.org/dmarc/new/*",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@config_dir_option
@set_option
def import_(files: tuple[Path, ...], config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Keep the reports of files: XML, gzip, zip, or messages that carry them.

    Aggregate reports are on a day's mail, failure reports on one message.
    A report that is there already is not counted twice. Exit code 1 when a file had none.
    """
    kept = KeptReports(load_config(config_dir, overrides).data_dir)
    has_failed = False
    for path in files:
        try:
            found = reports_of(path.read_bytes())
        except (BadReport, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            click.echo(f"{path}: {reason}", err=True)
            has_failed = True
            continue
        for report in found:
            click.echo(f"{kept.add(report)}  {_summary(report)}")
    if has_failed:
        sys.exit(EXIT_NO)


@reports.command("list", examples=("relevo reports list", "relevo reports list --json"))
@json_option
@config_dir_option
@set_option
def list_(as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """All reports that were imported, the oldest first."""
    found = KeptReports(load_config(config_dir, overrides).data_dir).all()
    if as_json:
        plain = [{"name": name, **dataclasses.asdict(report)} for name, report in found]
        click.echo(json.dumps(plain, indent=2))
        return
    for name, report in found:
        click.echo(f"{name}  {_summary(report)}")


@reports.command(examples=("relevo reports show 3f2a9c41d07e",))
@click.argument("name")
@json_option
@config_dir_option
@set_option
def show(name: str, as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """One report: a line for each source, those that failed first; or what it says of a message.

    NAME is the first column of `relevo reports list`, or its beginning.
    """
    report = KeptReports(load_config(config_dir, overrides).data_dir).get(name)
    if report is None:
        click.echo(f"no report has the name {name!r}; `relevo reports list` shows all", err=True)
        sys.exit(EXIT_NO)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report), indent=2))
        return
    click.echo(_summary(report))
    if isinstance(report, FailureReport):
        _show_failure(report)
        return
    click.echo(f"policy: {report.policy or 'none is told'}")
    for row in sorted(report.rows, key=lambda row: (row.is_aligned, -row.count)):
        result = "pass" if row.is_aligned else "FAIL"
        found = ", ".join(
            [f"dkim {text}" for text in row.dkim_results]
            + [f"spf {text}" for text in row.spf_results]
        )
        click.echo(
            f"{row.count:>8}  {result}  {row.source_ip}  From {row.header_from}  "
            f"→ {row.disposition}  ({found})"
        )


def _show_failure(report: FailureReport) -> None:
    told = (
        ("sender", report.sender), ("delivery", report.delivery), ("aligned", report.alignment),
        ("results", report.results),
    )  # fmt: skip
    for name, text in told:
        click.echo(f"{name + ':':<10} {text or 'not told'}")
    if report.header:
        click.echo(f"\n{report.header}")


def _summary(report: AggregateReport | FailureReport) -> str:
    if isinstance(report, FailureReport):
        return (
            f"{arrived(report):%Y-%m-%d}  {report.domain}  by {report.organization}: "
            f"one message from {report.source_ip} failed"
        )
    counts: Counter[bool] = Counter()
    for row in report.rows:
        counts[row.is_aligned] += row.count
    day = datetime.fromtimestamp(min(report.begin, _LAST_SECOND), UTC)
    return (
        f"{day:%Y-%m-%d}  {report.domain}  by {report.organization}: "
        f"{counts[True]} passed, {counts[False]} failed"
    )
