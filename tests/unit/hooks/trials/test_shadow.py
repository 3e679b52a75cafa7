"""Shadows: every message about which they differ is listed, and none is changed or held up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from relevo.hooks.contract import Accept
from relevo.hooks.post_data import HookMessage
from relevo.hooks.trials.shadow import MAX_WAITING
from relevo.hooks.trials.shadow_report import ShadowReport, read_report
from unit.hooks.conftest import MakeSite, Site
from unit.hooks.trials.asking import Worker, message_id, with_data_dir, write_hook

MANY = 10_000 if os.environ.get("RELEVO_HOSTILE") == "full" else 1000
OLD = """\
if number % 10 == 3:
    return {"verdict": "reject", "text": "no"}
return {"add_headers": [{"name": "X-Score", "value": "1"}]}
"""
SITE = """
[[hook]]
name = "old"
form = "python"
target = "hooks/old.py"
max_concurrent = 64

[[hook]]
name = "new"
form = "python"
target = "hooks/new.py"
shadow = true
max_concurrent = 64
{more}
"""


def site_with(make_site: MakeSite, new: str, more: str = 'shadow_of = "old"') -> Site:
    site = with_data_dir(make_site(SITE.format(more=more)))
    write_hook(site.path / "hooks", "old.py", OLD)
    write_hook(site.path / "hooks", "new.py", new)
    return site


def report_of(site: Site) -> ShadowReport:
    (report,) = read_report(site.config.data_dir, since=0.0)
    return report


@pytest.mark.timeout(600)
async def test_every_planted_difference_is_found_and_nothing_else(make_site: MakeSite) -> None:
    planted = {
        7: 'return {"verdict": "tempfail"}',
        101: 'return {"add_headers": [{"name": "X-Score", "value": "2"}]}',
        222: 'return {"add_headers": [{"name": "X-Score", "value": "1"}], "tags": ["t"]}',
        303: "return None",
        MANY - 1: 'return {"verdict": "discard"}',
        MANY - 2: 'return {"add_headers": [{"name": "X-Score", "value": "1"}],\n'
        '            "add_recipients": ["b@d1.test"]}',
    }
    special = "".join(f"if number == {number}:\n    {text}\n" for number, text in planted.items())
    site = site_with(make_site, special + OLD)
    worker = Worker(site)
    for begin in range(0, MANY, MAX_WAITING // 2):
        await worker.ask_all(range(begin, min(MANY, begin + MAX_WAITING // 2)))
        await worker.settle()
    await worker.close()
    report = report_of(site)
    assert {each.message_id for each in report.differences} == {message_id(n) for n in planted}
    assert (report.calls, report.equal, report.different) == (MANY, MANY - 6, 6)
    assert (report.dropped, report.errors, report.unlisted) == (0, 0, 0)
    found = {each.message_id: each.compared for each in report.differences}
    assert found[message_id(303)].live == "reject 554 5.7.1 no"
    assert found[message_id(303)].other == "accept"
    (headers,) = found[message_id(101)].differences
    assert (headers.aspect, headers.live, headers.other) == (
        "headers", ("X-Score: 1",), ("X-Score: 2",)
    )  # fmt: skip
    (recipients,) = found[message_id(MANY - 2)].differences
    assert (recipients.aspect, recipients.live, recipients.other) == (
        "recipients", (), ("+b@d1.test",)
    )  # fmt: skip


async def test_a_shadow_sees_what_its_hook_saw_and_changes_nothing(make_site: MakeSite) -> None:
    site = site_with(make_site, 'return {"tags": [str(message.parsed["X-First"])]}')
    site.write("post-data", "echo 'X-First: here'")
    worker = Worker(site)
    outcome = await worker.ask(1)
    await worker.close()
    assert isinstance(outcome.verdict, Accept)
    assert outcome.verdict.changes.tags == ()
    assert [record.hook for record in outcome.records] == ["hooks/post-data", "old"]
    (difference,) = report_of(site).differences
    aspects = {each.aspect: each for each in difference.compared.differences}
    assert aspects["tags"].other == ("here",)
    assert aspects["headers"].live == ("X-Score: 1",)


async def test_without_a_hook_to_compare_with_the_whole_stage_counts(make_site: MakeSite) -> None:
    site = site_with(make_site, "return None", more="")
    site.write("post-data", "echo 'X-First: here'")
    worker = Worker(site)
    await worker.ask(1)
    await worker.close()
    (difference,) = report_of(site).differences
    (headers,) = difference.compared.differences
    assert sorted(headers.live) == ["X-First: here", "X-Score: 1"]


async def test_a_hanging_shadow_holds_up_nothing_and_is_dropped_and_counted(
    make_site: MakeSite,
) -> None:
    site = site_with(make_site, "import asyncio\nawait asyncio.sleep(60)")
    worker = Worker(site)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await worker.ask_all(range(MAX_WAITING + 20))
    assert loop.time() - started < 30
    await worker.close(settled=False)
    report = report_of(site)
    assert report.dropped == MAX_WAITING + 20
    assert report.calls == 0


async def test_a_failing_shadow_is_a_difference_and_an_error(make_site: MakeSite) -> None:
    site = site_with(make_site, "raise RuntimeError('oops')")
    worker = Worker(site)
    assert isinstance((await worker.ask(1)).verdict, Accept)
    await worker.close()
    report = report_of(site)
    assert (report.calls, report.different, report.errors) == (1, 1, 1)
    (difference,) = report.differences
    assert "failure" in {each.aspect for each in difference.compared.differences}


async def test_a_large_message_is_there_although_its_file_is_gone(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = site_with(make_site, 'return {"tags": [str(len(message.octets))]}')
    spooled = tmp_path / "spooled"
    spooled.write_bytes((b"x" * 998 + b"\r\n") * 3000)

    def rest() -> Iterator[bytes]:
        with spooled.open("rb") as file:
            while chunk := file.read(100_000):
                yield chunk

    worker = Worker(site)
    await worker.ask(1, HookMessage(b"A: b\r\n\r\n", rest, rest_size=3_000_000))
    spooled.unlink()
    await worker.close()
    (difference,) = report_of(site).differences
    tags = [each for each in difference.compared.differences if each.aspect == "tags"]
    assert tags[0].other == (str(6 + 3000 * 999),)
