"""Canaries: a stable share of the mail, and the way back when they fail."""

from __future__ import annotations

import logging
import os

import pytest

from relevo.config.hook_model import DeclaredHook
from relevo.hooks.contract import Accept
from relevo.hooks.trials.canary import Canary, CanaryState, CanaryTable
from unit.hooks.conftest import MakeSite, Site
from unit.hooks.trials.asking import Worker, with_data_dir, write_hook

SITE = """
[[hook]]
name = "old"
form = "python"
target = "hooks/old.py"

[[hook]]
name = "new"
form = "python"
target = "hooks/new.py"
canary_of = "old"
canary = "20%"
canary_min_calls = 10
"""
SAYS_NEW = 'return {"tags": ["new"]}'


def site_with(make_site: MakeSite, new: str) -> Site:
    site = with_data_dir(make_site(SITE))
    write_hook(site.path / "hooks", "old.py", 'return {"tags": ["old"]}')
    write_hook(site.path / "hooks", "new.py", new)
    return site


async def asked(worker: Worker, number: int) -> str:
    """Which version was asked about a message."""
    (record,) = (await worker.ask(number)).records
    return record.hook


async def test_a_share_of_the_mail_goes_to_it_the_same_at_each_look(make_site: MakeSite) -> None:
    worker = Worker(site_with(make_site, SAYS_NEW))
    first = [await asked(worker, number) for number in range(300)]
    assert 30 <= first.count("new") <= 90
    assert [await asked(worker, number) for number in range(300)] == first
    outcome = await worker.ask(first.index("new"))
    assert isinstance(outcome.verdict, Accept)
    assert outcome.verdict.changes.tags == ("new",)
    assert outcome.passed == ("old",)  # the place it has: a release does not ask the hook again
    await worker.close()


async def test_one_that_fails_too_often_is_given_up_for_all_workers(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = site_with(make_site, "if number % 2:\n    raise RuntimeError\n" + SAYS_NEW)
    table = CanaryTable()
    worker, other = Worker(site, table), Worker(site, table)
    with caplog.at_level(logging.ERROR, "relevo.hooks"):
        hooks = [await asked(worker, number) for number in range(300)]
    assert 10 <= hooks.count("new") < 25
    assert hooks[150:].count("new") == 0
    assert [await asked(other, number) for number in range(150)].count("new") == 0
    (state,) = table.read()
    assert state.is_returned
    (record,) = [each for each in caplog.records if "is given up" in each.message]
    assert "canary new is given up" in record.message
    assert "of old 0 of" in record.message

    assert table.reset("new")
    assert [await asked(worker, number) for number in range(100)].count("new") > 5
    await worker.close()
    await other.close()


async def test_a_hook_that_fails_as_often_is_no_reason_to_go_back(make_site: MakeSite) -> None:
    site = site_with(make_site, "raise RuntimeError")
    write_hook(site.path / "hooks", "old.py", "raise RuntimeError")
    table = CanaryTable()
    worker = Worker(site, table)
    for number in range(200):
        await worker.ask(number)
    (state,) = table.read()
    assert state.calls == state.failures > 10
    assert not state.is_returned
    await worker.close()


@pytest.mark.parametrize(
    ("state", "is_too_often"),
    [
        (CanaryState(calls=9, failures=9), False),  # too few to tell
        (CanaryState(calls=10, failures=1), True),
        (CanaryState(calls=10, failures=1, live_calls=100, live_failures=6), False),
        (CanaryState(calls=100, failures=11, live_calls=100, live_failures=6), False),
        (CanaryState(calls=100, failures=12, live_calls=100, live_failures=6), True),
    ],
)
def test_what_is_too_often(state: CanaryState, is_too_often: bool) -> None:
    assert state.fails_too_often(10, 0.05) is is_too_often


def test_long_good_times_do_not_hide_that_it_fails_now() -> None:
    state = CanaryState()
    for _ in range(50_000):
        state = state.counted(is_live=False, failed=False)
    calls = 0
    while not state.fails_too_often(20, 0.05):
        state = state.counted(is_live=False, failed=True)
        calls += 1
    assert calls < 100


def test_processes_count_together() -> None:
    table = CanaryTable()
    declared = DeclaredHook(
        name="new", canary_of="old", canary="50%", canary_min_calls=1_000_000, target="x"
    )
    canary = Canary(declared, 3, table)
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            for _ in range(200):
                canary.count(is_live=True, failed=False)
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    (state,) = table.read()
    assert state.live_calls == 800


def test_a_row_of_another_configuration_is_not_believed() -> None:
    table = CanaryTable()
    with table.locked():
        table.put(3, CanaryState("other", returned_at=1.0))
    assert table.get(3, "new") == CanaryState("new")
    assert not table.reset("new")
    assert table.reset()
    assert table.read() == []
