"""The starters of hooks: each loads, accepts its example, and passes its own test."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from relevo.hook import Message, example
from relevo.hook.runner import function_of, load_file
from relevo.hook.starter import starter, starter_test
from relevo.hooks.contract import Stage


@pytest.mark.parametrize("stage", list(Stage))
def test_a_starter_accepts_the_example_of_its_stage(tmp_path: Path, stage: Stage) -> None:
    path = tmp_path / "fresh.py"
    path.write_text(starter(stage, "hooks/fresh.py"))
    function = function_of(load_file(str(path)), stage.value)
    arguments = [example(stage.value)]
    if stage is Stage.POST_DATA:
        arguments.insert(0, Message(b"A: b\n\nx\n"))
    assert asyncio.run(function(*arguments)) is None


def test_the_tests_of_starters_pass_by_pytest_alone(tmp_path: Path) -> None:
    for stage in Stage:
        name = f"my_{stage.name.lower()}"
        (tmp_path / f"{name}.py").write_text(starter(stage, f"hooks/{name}.py"))
        (tmp_path / f"test_{name}.py").write_text(starter_test(stage, name))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"{len(Stage)} passed" in done.stdout, done.stdout + done.stderr
