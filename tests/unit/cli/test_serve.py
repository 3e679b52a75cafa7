"""`relevo serve` hands over to the supervisor; running servers are tested in tests/system."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import pytest

from relevo.cli.options import EXIT_CONFIG
from relevo.config import Config
from relevo.service.supervisor import StartFailed
from unit.cli.invoking import Run


class FakeSupervisor:
    """Ends at once, as told."""

    result: int | Exception = 0

    def __init__(
        self, load_config: Callable[[], Config], *, command: Sequence[str], handover: object
    ) -> None:
        assert command, "a restart needs it"
        assert handover is None
        self.load_config = load_config

    def run(self) -> int:
        assert self.load_config().limits.errors == 7
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> type[FakeSupervisor]:
    fake = type("Fake", (FakeSupervisor,), {})
    monkeypatch.setattr("relevo.cli.serve.Supervisor", fake)
    return fake


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_supervisors(
    run: Run, supervisor: type[FakeSupervisor], code: int
) -> None:
    supervisor.result = code
    assert run("serve", "--set", "limits.errors=7").code == code


def test_a_start_that_fails_is_one_line(run: Run, supervisor: type[FakeSupervisor]) -> None:
    supervisor.result = StartFailed("listen.smtp: port 25 needs root")
    outcome = run("serve", "--set", "limits.errors=7")
    assert outcome.code == EXIT_CONFIG
    assert outcome.err == "relevo: listen.smtp: port 25 needs root\n"


def test_a_dry_run_starts_nothing(run: Run, supervisor: type[FakeSupervisor]) -> None:
    supervisor.result = ZeroDivisionError("it was started")
    assert run("serve", "--dry-run", "--set", "listen.smtp=127.0.0.1:0").code == 0


def test_a_dry_run_says_what_would_fail(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        outcome = run("serve", "--dry-run", "--set", f"listen.smtp={address}")
    assert outcome.code == EXIT_CONFIG
    assert outcome.err.startswith(f"relevo: listen.smtp: cannot listen on {address}")
