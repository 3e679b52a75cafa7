"""What a restart is refused for; restarts themselves are tested in tests/fault."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.waiting import wait_for
from relevo.service.handover import Handover
from relevo.service.restarting import Restarting

GOOD = "import sys; assert sys.argv[-1] == '--dry-run'"
BAD = "import sys; sys.exit('relevo: listen.smtp: port 25 is taken\\nand the key is gone')"


@pytest.fixture
def handover() -> Iterator[Handover]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Handover("/data", ours.fileno(), theirs.fileno(), {})


def trial(handover: Handover, program: str) -> tuple[Restarting, bool]:
    """A trial start of the program, and whether it went well."""
    restarting = Restarting(["python", "-c", program], lambda: handover)
    assert restarting.try_it("") == []
    pid = restarting.pid
    assert pid
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert not restarting.on_end(pid + 1, 0)
    return restarting, restarting.on_end(pid, status)


def test_a_trial_that_ends_well_lets_it_begin(handover: Handover) -> None:
    restarting, is_good = trial(handover, GOOD)
    assert is_good
    assert (restarting.problems, restarting.pid) == ([], 0)


def test_what_a_failed_trial_says_is_the_reason(
    handover: Handover, caplog: pytest.LogCaptureFixture
) -> None:
    restarting, is_good = trial(handover, BAD)
    assert not is_good
    assert restarting.problems == ["listen.smtp: port 25 is taken", "and the key is gone"]
    assert "restart refused, everything stays as it was: listen.smtp" in caplog.text


def test_a_trial_that_dies_without_a_word_is_a_reason_as_well(handover: Handover) -> None:
    restarting, is_good = trial(handover, "import os; os.kill(os.getpid(), 9)")
    assert not is_good
    assert restarting.problems == ["the trial start ended with -9"]


def test_a_trial_that_takes_too_long_is_killed(handover: Handover) -> None:
    restarting = Restarting(["python", "-c", "import time; time.sleep(600)"], lambda: handover)
    restarting.try_it("")
    pid = restarting.pid
    [due] = restarting.next_due()
    restarting.look(due - 1)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    restarting.look(due)
    status = wait_for(lambda: os.waitpid(pid, os.WNOHANG)[1], what="its end")
    assert not restarting.on_end(pid, os.waitstatus_to_exitcode(status))
    assert restarting.next_due() == []


def test_an_obstacle_is_said_and_nothing_is_started(handover: Handover) -> None:
    restarting = Restarting([sys.executable], lambda: handover)
    assert restarting.try_it("it is Sunday") == ["it is Sunday"]
    assert restarting.pid == 0
    assert Restarting((), lambda: handover).try_it("")[0].startswith("only a server")


def test_a_program_that_is_gone_is_said(
    handover: Handover, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    restarting = Restarting(["python"], lambda: handover)
    assert restarting.try_it("") == ["no trial start: No such file or directory"]
