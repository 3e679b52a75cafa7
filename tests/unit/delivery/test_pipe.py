"""Pipe aliases: words without a shell, LF stdin, exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from relevo.delivery.attempt import Result
from relevo.delivery.commands import CommandRunner
from relevo.delivery.pipe import PipeAgent
from relevo.journal import Outcome
from unit.delivery.loops import Runner
from unit.delivery.samples import MESSAGE, attempt_of, make_unit, pipe


def deliver(
    run: Runner,
    directory: Path,
    script: str,
    words: str = "",
    *,
    reverse_path: str = "a@b.test",
    timeout_s: float = 10,
) -> Result:
    program = directory / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)

    async def attempt() -> Sequence[Result]:
        agent = PipeAgent(CommandRunner(directory, timeout_s=timeout_s, limit=4))
        unit = make_unit(
            pipe(f"{program} {words}".strip()), route="pipe", reverse_path=reverse_path
        )
        return await agent.attempt(attempt_of(unit))

    (result,) = run(attempt())
    return result


@pytest.mark.case("Q8", "Q9")
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param("exit 0", Outcome.DELIVERED, id="exit-0"),
        pytest.param("exit 1", Outcome.PERMANENT, id="exit-1"),
        pytest.param("exit 75", Outcome.TEMPORARY, id="exit-75"),
        pytest.param("kill -9 $$", Outcome.TEMPORARY, id="signal"),
    ],
)
def test_exit_decides(run: Runner, tmp_path: Path, script: str, outcome: Outcome) -> None:
    assert deliver(run, tmp_path, script).outcome is outcome


@pytest.mark.case("Q9")
def test_deadline_is_temporary(run: Runner, tmp_path: Path) -> None:
    assert deliver(run, tmp_path, "sleep 60", timeout_s=0.2).outcome is Outcome.TEMPORARY


def test_missing_command_is_temporary(run: Runner, tmp_path: Path) -> None:
    async def attempt() -> Sequence[Result]:
        agent = PipeAgent(CommandRunner(tmp_path, timeout_s=5, limit=1))
        return await agent.attempt(attempt_of(make_unit(pipe("/absent x"), route="pipe")))

    (result,) = run(attempt())
    assert (result.outcome, result.status) == (Outcome.TEMPORARY, "4.3.5")


def test_stdin_has_lf(run: Runner, tmp_path: Path) -> None:
    deliver(run, tmp_path, "cat > got")
    assert (tmp_path / "got").read_bytes() == MESSAGE.replace(b"\r\n", b"\n")


def test_words_reach_the_command_without_a_shell(run: Runner, tmp_path: Path) -> None:
    deliver(run, tmp_path, 'printf "%s|" "$@" > got', "a $HOME %to% ;x")
    assert (tmp_path / "got").read_text() == "a|$HOME|%to%|;x|"


def test_environment_tells_sender_and_recipient(run: Runner, tmp_path: Path) -> None:
    deliver(run, tmp_path, 'echo "[$SENDER] $RECIPIENT $MESSAGE_ID" > got', reverse_path="")
    assert (tmp_path / "got").read_text() == "[] ali@d1.test m1\n"


def test_failure_does_not_name_the_command(run: Runner, tmp_path: Path) -> None:
    result = deliver(run, tmp_path, "echo why; exit 3", "--secret")
    assert result.detail == 'the command of the alias failed: exit status 3: "why"'


def test_hyphen_words_are_the_operators_own(run: Runner, tmp_path: Path) -> None:
    deliver(run, tmp_path, 'echo "$1" > got', "-f")
    assert (tmp_path / "got").read_text() == "-f\n"
