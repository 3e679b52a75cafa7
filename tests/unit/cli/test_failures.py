"""Each error that a command meets, as text and exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.cli.failures import TRACEBACK_VARIABLE, explain
from relevo.cli.options import EXIT_CONFIG, EXIT_FAULT, EXIT_NO, EXIT_NOT_RUNNING, EXIT_USAGE
from relevo.cli.queue_choice import NotWaiting
from relevo.config import ConfigErrors, Problem
from relevo.directory import DirectoryErrors, FileError, FileProblem
from relevo.mail import InvalidAddress
from relevo.queue import DatabaseError
from relevo.service.control import NotRunning
from relevo.service.data_dir import DataDirInUse
from relevo.service.supervisor import StartFailed

PROBLEM = FileProblem(Path("users"), 3, "bad")


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (ConfigErrors([Problem("a", 1, "k", "t")]), "a:1: k: t", EXIT_CONFIG),
        (DirectoryErrors((PROBLEM, PROBLEM)), "users:3: bad\nusers:3: bad", EXIT_CONFIG),
        (FileError(PROBLEM), "users:3: bad", EXIT_CONFIG),
        (StartFailed("port 25 needs root"), "port 25 needs root", EXIT_CONFIG),
        (DataDirInUse("in use by process 7"), "in use by process 7", EXIT_CONFIG),
        (DatabaseError("no queue"), "no queue", EXIT_CONFIG),
        (InvalidAddress("no domain"), "no domain", EXIT_USAGE),
        (NotWaiting("not in the queue: x"), "not in the queue: x", EXIT_NO),
        (TimeoutError("locked"), "locked", EXIT_NO),
        (PermissionError(13, "Permission denied", "/etc/x"), "/etc/x: Permission denied", 3),
        (OSError("odd"), "odd", EXIT_CONFIG),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_known_errors(error: Exception, text: str, code: int) -> None:
    failure = explain(error)
    assert failure.text == text
    assert failure.exit_code == code


def test_no_server_says_how_to_start_one() -> None:
    failure = explain(NotRunning("no server is running on /x"))
    assert failure.exit_code == EXIT_NOT_RUNNING
    assert failure.text == "no server is running on /x; start one with `relevo serve`"


def test_a_socket_that_may_not_be_asked_is_not_a_server_that_does_not_run() -> None:
    error = NotRunning("no server")
    error.__cause__ = PermissionError(13, "Permission denied")
    failure = explain(error)
    assert failure.exit_code == EXIT_CONFIG
    assert failure.text == "Permission denied: ask as root or as the user of the server"


def test_a_fault_shows_its_traceback_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    failure = explain(ValueError("odd"))
    assert failure.exit_code == EXIT_FAULT
    assert TRACEBACK_VARIABLE in failure.text
    assert "\n" not in failure.text
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    assert explain(ValueError("odd")).text.endswith("\nValueError: odd")
