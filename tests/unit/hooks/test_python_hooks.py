"""Hooks of the form python through a real host."""

from __future__ import annotations

import asyncio
import time

import pytest

from relevo.hooks.contract import Refuse, Stage
from relevo.hooks.programs import Programs
from relevo.hooks.soundness import find_fault
from unit.hooks.conftest import MakeSite, Site
from unit.hooks.test_worker_launcher import ask, reason_of, stage_hooks

TOML = """
[[hook]]
stage = "mail"
form = "python"
target = "spam.py"
timeout = "5s"
processes = 1
"""


def make(make_site: MakeSite, text: str) -> Site:
    site = make_site(TOML)
    write(site, text)
    return site


def write(site: Site, text: str) -> None:
    (site.path / "spam.py").write_text(f"import asyncio\nfrom relevo.hook import *\n{text}\n")


async def test_a_function_answers_and_what_it_prints_is_shown(make_site: MakeSite) -> None:
    text = (
        "async def mail(context: MailContext) -> MailVerdict:\n"
        "    print('looked at', context.reverse_path)\n"
        "    return MailVerdict(tags=['seen'])"
    )
    outcome = await ask(stage_hooks(make(make_site, text)))
    assert outcome.changes.tags == ("seen",)
    assert outcome.records[0].stderr == "looked at a@r.test"


async def test_a_refusal_is_raised(make_site: MakeSite) -> None:
    outcome = await ask(
        stage_hooks(make(make_site, "async def mail(context): raise Reject('not you')"))
    )
    assert outcome.refusal == Refuse(550, "5.7.1", "not you")


async def test_an_exception_fails_its_call_and_not_the_process(make_site: MakeSite) -> None:
    text = (
        "async def mail(context):\n"
        "    if context.reverse_path.startswith('bad'): raise ValueError('oh')\n"
        "    return {'tags': ['fine']}"
    )
    hooks = stage_hooks(make(make_site, text))
    outcome = await ask(hooks, "bad")
    assert reason_of(outcome).startswith("it failed: ValueError: oh")
    assert "Traceback" in outcome.records[0].stderr
    assert (await ask(hooks)).changes.tags == ("fine",)


@pytest.mark.alone
async def test_coroutines_wait_beside_each_other(make_site: MakeSite) -> None:
    text = "async def mail(context):\n    await asyncio.sleep(0.5)"
    hooks = stage_hooks(make(make_site, text))
    await ask(hooks)
    began = time.monotonic()
    await asyncio.gather(*(ask(hooks) for _ in range(8)))
    assert time.monotonic() - began < 2.0


async def test_an_edited_file_counts_for_the_next_call(make_site: MakeSite) -> None:
    site = make(make_site, "async def mail(context): return {'tags': ['old']}")
    hooks = stage_hooks(site)
    assert (await ask(hooks)).changes.tags == ("old",)
    write(site, "async def mail(context): return {'tags': ['newer']}")
    assert (await ask(hooks)).changes.tags == ("newer",)


async def test_a_file_that_cannot_be_loaded_fails_with_its_traceback(make_site: MakeSite) -> None:
    outcome = await ask(stage_hooks(make(make_site, "def mail(")))
    assert "exit status 1" in reason_of(outcome)
    assert "SyntaxError" in outcome.records[0].stderr


def test_its_file_needs_no_run_bit(make_site: MakeSite) -> None:
    site = make(make_site, "")
    (program,) = Programs(site.config).of(Stage.MAIL)
    assert find_fault(site.config, program) == ""


async def test_settings_reach_the_function(make_site: MakeSite) -> None:
    site = make_site(f'{TOML}[hook.settings]\nword = "w"\n')
    write(
        site,
        "class Mine(Settings, frozen=True):\n    word: str\n"
        "async def mail(context): return {'tags': [settings(Mine).word]}",
    )
    assert (await ask(stage_hooks(site))).changes.tags == ("w",)


async def test_an_installed_module_needs_no_file(make_site: MakeSite) -> None:
    outcome = await ask(stage_hooks(make_site(TOML.replace("spam.py", "relevo.hook.starter"))))
    assert "has no function mail" in reason_of(outcome)


def test_a_module_that_is_not_there_is_found_by_looking(make_site: MakeSite) -> None:
    programs = Programs(config := make_site(TOML.replace("spam.py", "no.such")).config)
    assert find_fault(config, programs.of(Stage.MAIL)[0]) == "there is no Python module no.such"
