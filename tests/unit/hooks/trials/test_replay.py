"""Kept mail, run through other versions of a hook: every difference, and nothing else."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from relevo.config import Config
from relevo.hooks.alone import own_host
from relevo.hooks.contract import Client, Stage
from relevo.hooks.contract.contexts import RcptContext
from relevo.hooks.stages import StageHooks
from relevo.hooks.trials.replay import ReplayResult, read_kept, replay
from relevo.hooks.trials.versions import NoVersion, find_version, replay_config
from unit.hooks.conftest import MakeSite, Site
from unit.hooks.trials.asking import Worker, message, message_id, with_data_dir, write_hook

MANY = 10_000 if os.environ.get("RELEVO_HOSTILE") == "full" else 1000
SITE = """
[[hook]]
name = "old"
form = "python"
target = "hooks/old.py"
max_concurrent = 64

[replay]
keep = "1h"
{more}
"""
ANSWER = 'return {"add_headers": [{"name": "X-Score", "value": "1"}]}'
REJECTS = 'if number % 10 == 3:\n    return {"verdict": "reject", "text": "no"}\n'


def site_with(make_site: MakeSite, old: str = REJECTS + ANSWER, more: str = "") -> Site:
    site = with_data_dir(make_site(SITE.format(more=more)))
    write_hook(site.path / "hooks", "old.py", old)
    return site


async def run(
    config: Config, name: str, against: str = "", jobs: int = 16, **options: str
) -> ReplayResult:
    versions = [find_version(config, name, **options)]
    if against:
        versions.append(find_version(config, against, stands_for=versions[0].place))
    alone = replay_config(config, versions)
    with own_host(alone) as sockets:
        mail = read_kept(config.data_dir, versions[0].stage, since=0.0)
        return await replay(alone, sockets, versions, mail, jobs)


def found(result: ReplayResult) -> set[str]:
    return {each.message_id for each in result.differences}


@pytest.mark.timeout(600)
async def test_every_planted_difference_is_found_and_nothing_else(make_site: MakeSite) -> None:
    site = site_with(make_site)
    worker = Worker(site)
    await worker.ask_all(range(MANY))
    await worker.close()
    same = await run(site.config, "old")
    assert (same.calls, same.equal, same.different) == (MANY, MANY, 0)
    planted = {0, 13, 500, MANY - 1}
    new = f"if number in {planted}:\n    return {{'verdict': 'tempfail'}}\n{REJECTS}{ANSWER}"
    write_hook(site.path, "new.py", new)
    new_file = str(site.path / "new.py")
    for result in (
        await run(site.config, new_file, stands_for="old"),
        await run(site.config, new_file, against="old", stands_for="old"),
        await run(site.config, new_file),
    ):
        assert found(result) == {message_id(number) for number in planted}
        assert (result.calls, result.different) == (MANY, len(planted))
        assert (result.errors, result.skipped, result.redacted) == (0, 0, 0)
    compared = {each.message_id: each.compared for each in result.differences}
    assert compared[message_id(13)].live == "reject 554 5.7.1 no"
    assert compared[message_id(0)].other.startswith("tempfail 451 4.7.1")


async def test_a_hook_is_asked_what_it_was_asked_live(make_site: MakeSite) -> None:
    says_all = (
        "import hashlib\n"
        "told = [context.reverse_path, context.client.ip, *context.tags, str(context.size),\n"
        "        hashlib.sha256(message.octets).hexdigest()]\n"
        'return {"tags": told}'
    )
    site = site_with(make_site, says_all)
    site.write("post-data", "echo 'X-First: here'")
    worker = Worker(site)
    await worker.ask(1)
    await worker.ask(2, message(2, b"\xff\xfe binary " * 40_000))  # on disk for the hook
    await worker.close()
    result = await run(site.config, "old")
    assert (result.calls, result.different) == (2, 0)


async def test_what_the_hook_was_not_asked_is_skipped(make_site: MakeSite) -> None:
    site = site_with(make_site)
    site.write("post-data", "echo no; exit 20")
    worker = Worker(site)
    await worker.ask(1)
    await worker.close()
    assert (await run(site.config, "old")).skipped == 1
    result = await run(site.config, "hooks/post-data")
    assert (result.calls, result.different) == (1, 0)
    new = site.path / "new-post-data"
    new.write_text("#!/bin/sh\necho no longer; exit 20\n")
    new.chmod(0o755)
    result = await run(site.config, str(new), stands_for="hooks/post-data")
    (difference,) = result.differences
    assert difference.compared.live == "reject 554 5.7.1 no"
    assert difference.compared.other == "reject 554 5.7.1 no longer"


async def test_a_version_that_fails_is_a_difference(make_site: MakeSite) -> None:
    site = site_with(make_site)
    worker = Worker(site)
    await worker.ask_all(range(30))
    await worker.close()
    write_hook(site.path, "new.py", "raise RuntimeError")
    result = await run(site.config, str(site.path / "new.py"), stands_for="old")
    assert (result.calls, result.different, result.errors) == (30, 30, 30)


async def test_redacted_mail_says_so(make_site: MakeSite) -> None:
    site = site_with(make_site, more='redact = "text"')
    worker = Worker(site)
    await worker.ask(1, message(1, b"Secret 42"))
    await worker.close()
    (kept,) = read_kept(site.config.data_dir, Stage.POST_DATA, since=0.0)
    assert kept.seen.question.start == b"Subject: 1\r\nX-B: 1\r\n\r\nxxxxxx 99\r\n"
    result = await run(site.config, "old")
    assert (result.calls, result.redacted, result.equal) == (1, 1, 1)


async def test_the_latest_only_and_single_messages(make_site: MakeSite) -> None:
    site = site_with(make_site)
    worker = Worker(site)
    for number in range(10):
        await worker.ask(number)
    await worker.close()
    folder, stage = site.config.data_dir, Stage.POST_DATA
    latest = read_kept(folder, stage, since=0.0, limit=3)
    assert [kept.seen.question.message_id for kept in latest] == list(map(message_id, (7, 8, 9)))
    ids = frozenset({message_id(4)})
    assert [kept.seen.question.message_id for kept in read_kept(
        folder, stage, since=0.0, message_ids=ids
    )] == [message_id(4)]  # fmt: skip


async def test_other_stages_are_kept_with_their_contexts(make_site: MakeSite) -> None:
    rcpt = '\n[[hook]]\nname = "members"\nstage = "rcpt"\nform = "python"\ntarget = "rcpt.py"\n'
    site = site_with(make_site, more=rcpt)
    text = 'async def rcpt(context):\n    return {"tags": [context.forward_path]}\n'
    (site.path / "rcpt.py").write_text(text)
    worker = Worker(site)
    client = Client("192.0.2.7", 4711, "cli")
    await StageHooks(worker.caller).ask(
        RcptContext(
            client=client, listener="SMTP", reverse_path="a@r.test", forward_path="b@d1.test"
        )
    )
    await worker.close()
    assert (await run(site.config, "members")).equal == 1
    (site.path / "new.py").write_text(text.replace("[context", '["x", context'))
    result = await run(site.config, str(site.path / "new.py"), stands_for="members")
    (difference,) = result.differences
    assert difference.about == "192.0.2.7:4711, reverse-path a@r.test, forward-path b@d1.test"


async def test_nothing_is_kept_by_default_and_what_was_kept_goes(make_site: MakeSite) -> None:
    site = site_with(make_site)
    worker = Worker(site)
    await worker.ask(1)
    off = replace(site.config, replay=replace(site.config.replay, keep=site.config.replay.keep * 0))
    worker.caller.reconfigure(off)
    await worker.settle()
    assert not worker.hooks.is_watched
    await worker.ask(2)
    await worker.close()
    assert list((site.config.data_dir / "kept-mail").iterdir()) == []


def test_what_cannot_be_run_is_said(make_site: MakeSite) -> None:
    site = site_with(make_site)
    with pytest.raises(NoVersion, match="No such file"):
        find_version(site.config, "nothing.py")
    with pytest.raises(NoVersion, match="no hook is called 'other'"):
        find_version(site.config, str(site.path / "hooks" / "old.py"), stands_for="other")
    with pytest.raises(NoVersion, match="nothing is kept of alias-resolve"):
        find_version(site.config, str(site.path / "hooks" / "old.py"), stage="alias-resolve")
