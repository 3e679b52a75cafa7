"""`relevo hook add`: what is written, what is left alone, and that every declaration works."""

from __future__ import annotations

from importlib import import_module

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_USAGE
from relevo.config import load
from relevo.hook.ready.catalogue import READY_HOOKS, ReadyHook
from relevo.hook.runner import function_of
from relevo.hook.settings import read_settings, settings_type
from unit.cli.invoking import Run

NAMES = [each.name for each in READY_HOOKS]


@pytest.mark.parametrize("hook", READY_HOOKS, ids=NAMES)
def test_what_is_added_is_sound_at_each_of_its_stages(
    run: Run, site: ConfigDir, hook: ReadyHook
) -> None:
    for stage in hook.stages:
        outcome = run("hook", "add", hook.name, "--stage", stage.value)
        assert outcome.code == 0, outcome.err
        assert "Next:\n  1. " in outcome.out
        function_of(import_module(hook.module), stage.value)
    listed = run("hook", "list")
    assert (listed.code, listed.out.count(f"  {hook.name}  ")) == (0, len(hook.stages)), listed.out


@pytest.mark.parametrize("hook", READY_HOOKS, ids=NAMES)
def test_every_line_that_is_commented_out_is_a_setting(site: ConfigDir, hook: ReadyHook) -> None:
    tables = hook.declaration(hook.stages[0], "/data").replace("\n# ", "\n").partition("[[hook]]")
    path = site.path / "relevo.toml"
    path.write_text(f"{path.read_text()}\n{tables[1]}{tables[2]}")
    (declared,) = load(site.path).hook
    kind = settings_type(import_module(hook.module))
    assert kind is not None
    chosen = read_settings(kind, declared.settings.json)
    assert {*declared.settings.values} == {*kind.__struct_fields__}, chosen


def test_a_second_time_nothing_changes(run: Run, site: ConfigDir) -> None:
    path = site.path / "relevo.toml"
    path.chmod(0o640)
    assert run("hook", "add", "clamav").code == 0
    text, mode = path.read_text(), path.stat().st_mode
    assert mode & 0o777 == 0o640
    again = run("hook", "add", "clamav")
    assert (again.code, "already; nothing was changed" in again.out) == (0, True)
    assert path.read_text() == text


def test_a_dry_run_writes_nothing(run: Run, site: ConfigDir) -> None:
    path = site.path / "relevo.toml"
    before = path.read_text()
    outcome = run("hook", "add", "rspamd", "--dry-run")
    assert 'target = "relevo.hook.ready.rspamd"' in outcome.out
    assert path.read_text() == before


def test_settings_that_are_wrong_are_a_problem_of_the_list(run: Run, site: ConfigDir) -> None:
    assert run("hook", "add", "greylist").code == 0
    path = site.path / "relevo.toml"
    path.write_text(path.read_text().replace("delay = 300.0", 'delai = "5m"'))
    outcome = run("hook", "list")
    assert "PROBLEM: settings: the table contains unknown field `delai`" in outcome.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("clamv",), "did you mean clamav?"),
        (("rspamd", "--stage", "rcpt"), "it knows post-data"),
        ((), "--list shows them"),
    ],
)
def test_wrong_usage(run: Run, words: tuple[str, ...], text: str) -> None:
    outcome = run("hook", "add", *words)
    assert outcome.code == EXIT_USAGE
    assert text in outcome.err


def test_the_list_has_all(run: Run) -> None:
    assert [line.split()[0] for line in run("hook", "add", "--list").out.splitlines()] == NAMES
