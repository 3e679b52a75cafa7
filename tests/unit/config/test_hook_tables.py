"""`[[hook]]` in relevo.toml: read, refused with a line, shown again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.config import Config, ConfigErrors, load
from relevo.config.hook_tables import MAX_HOOKS
from relevo.config.render import render_json, render_toml

TWO = """\
hostname = "mx.test"
[[hook]]
target = "hooks/judge"
arguments = ["a", "b"]
timeout = "5s"
on_error = "accept"
max_concurrent = 3
[[hook]]
name = "second"
stage = "alias-resolve"
target = "/usr/bin/second"
"""


def read(folder: Path, text: str) -> Config:
    (folder / "relevo.toml").write_text(text)
    return load(folder)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as refused:
        read(folder, text)
    return [str(problem) for problem in refused.value.problems]


def test_tables_in_order_with_absolute_targets(tmp_path: Path) -> None:
    first, second = read(tmp_path, TWO).hook
    assert (first.name, first.stage, first.form) == ("judge", "post-data", "exec")
    assert first.target == str(tmp_path / "hooks/judge")
    assert first.arguments == ("a", "b")
    assert first.timeout == timedelta(seconds=5)
    assert (first.on_error, first.max_concurrent) == ("accept", 3)
    assert (second.name, second.stage) == ("second", "alias-resolve")
    assert second.target == "/usr/bin/second"
    assert second.on_error == "tempfail"


def test_without_tables_there_are_none(tmp_path: Path) -> None:
    assert read(tmp_path, 'hostname = "mx.test"\n').hook == ()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param('[[hook]]\ntarget = "a"\ntimout = "5s"\n', 3, "timeout", id="unknown-key"),
        pytest.param('[[hook]]\ntarget = "a"\ntimeout = 5\n', 3, "not a duration", id="type"),
        pytest.param(
            '[[hook]]\ntarget = "a"\nstage = "post-date"\n', 3, "did you mean post-data", id="stage"
        ),
        pytest.param('[[hook]]\nname = "x"\n', 1, "has no target", id="no-target"),
        pytest.param('[hook]\ntarget = "a"\n', 1, "[[hook]]", id="no-array"),
        pytest.param('hook = "a"\n', 1, "[[hook]]", id="a-value"),
        pytest.param(
            '[[hook]]\ntarget = "a"\n[[hook]]\ntarget = "b"\nmax_concurrent = 0\n', 5,
            "too small", id="second-table",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f"{tmp_path}/relevo.toml:{line}: hook")
    assert words in problem


def test_too_many_tables(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[[hook]]\ntarget = "a"\n' * (MAX_HOOKS + 1))
    assert f"at most {MAX_HOOKS}" in problem


def test_shown_tables_are_read_back(tmp_path: Path) -> None:
    config = read(tmp_path, TWO)
    shown = render_toml(config)
    assert read(tmp_path, shown).hook == config.hook
    tree = json.loads(render_json(config))["config"]
    assert [hook["name"] for hook in tree["hook"]] == ["judge", "second"]
    assert tree["hook"][0]["timeout"] == "5s"


SETTINGS = """\
[[hook]]
form = "python"
target = "relevo.hook.ready.rspamd"
[hook.settings]
url = "http://127.0.0.1:1/"
score = 1.5
is_on = true
names = ["a", "b"]
[[hook.settings.zones]]
zone = 'x"y'
[[hook]]
target = "judge"
"""


def test_settings_are_a_table_of_the_hook_above(tmp_path: Path) -> None:
    first, second = read(tmp_path, SETTINGS).hook
    assert first.settings.values == {
        "url": "http://127.0.0.1:1/",
        "score": 1.5,
        "is_on": True,
        "names": ["a", "b"],
        "zones": [{"zone": 'x"y'}],
    }
    assert second.settings.values == {}


def test_settings_are_shown_so_that_they_can_be_read_again(tmp_path: Path) -> None:
    config = read(tmp_path, SETTINGS)
    (again := tmp_path / "again").mkdir()
    assert read(again, render_toml(config)).hook[0].settings == config.hook[0].settings
    assert json.loads(render_json(config))["config"]["hook"][0]["settings"]["score"] == 1.5


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param('"x"', "is not a table", id="text"),
        pytest.param("{ at = 2026-01-01 }", "neither text, number", id="date"),
        pytest.param("{ a = inf }", "is not a number", id="infinity"),
        pytest.param(f'{{ a = "{"x" * 70_000}" }}', "larger than", id="large"),
        pytest.param(f"{{ a = {'[' * 9}{']' * 9} }}", "deep", id="deep"),
    ],
)
def test_settings_that_cannot_be_handed_on(tmp_path: Path, value: str, words: str) -> None:
    (problem,) = problems(tmp_path, f'[[hook]]\ntarget = "a"\nsettings = {value}\n')
    assert "relevo.toml:3: hook.settings" in problem
    assert words in problem


@pytest.mark.parametrize(
    ("form", "target", "is_below"),
    [
        ("python", "relevo.hook.ready.rspamd", False),
        ("python", "my.spam", False),
        ("python", "spam.py", True),
        ("python", "hooks/spam.py", True),
        ("exec", "a.b", True),
    ],
)
def test_a_name_with_dots_is_an_installed_module(
    tmp_path: Path, form: str, target: str, is_below: bool
) -> None:
    (hook,) = read(tmp_path, f'[[hook]]\nform = "{form}"\ntarget = "{target}"\n').hook
    assert hook.target == (str(tmp_path / target) if is_below else target)


@pytest.mark.parametrize(
    ("written", "kept"),
    [("true", "true"), ('"true"', "true"), ('"strict"', "strict"), ("false", "false")],
)
def test_a_sandbox_is_true_or_a_word(tmp_path: Path, written: str, kept: str) -> None:
    (tmp_path / "relevo.toml").write_text(
        f'hostname = "mx.test"\n[hooks]\nsandbox = {written}\n[[hook]]\ntarget = "a"\n'
        f"sandbox = {written}\n"
    )
    config = load(tmp_path)
    assert (config.hooks.sandbox, config.hook[0].sandbox) == (kept, kept)
    assert load(tmp_path, ("hooks.sandbox=true",)).hooks.sandbox == "true"
