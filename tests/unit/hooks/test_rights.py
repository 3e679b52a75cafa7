"""Who a launcher becomes, and what it keeps: no right but that of being scheduled first."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable

import pytest

from relevo.hooks.rights import be_patient, be_urgent, become

OTHER = "nobody" if os.geteuid() == 0 else ""  # only root becomes another user
OTHER_UID = pwd.getpwnam(OTHER).pw_uid if OTHER else os.getuid()


def in_a_child(do: Callable[[], object]) -> None:
    """For good is for the rest of a process."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            do()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_programs_of_an_urgent_launcher_have_no_rights() -> None:
    def check() -> None:
        become(OTHER)
        assert os.getuid() == os.geteuid() == OTHER_UID
        be_urgent()
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in {os.SCHED_RR, os.SCHED_OTHER}
        be_patient()
        status = subprocess.run(
            ["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=True
        ).stdout
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert f"{name}:\t{0:016x}\n" in status

    in_a_child(check)


def test_root_cannot_be_had_back() -> None:
    def check() -> None:
        become(OTHER)
        with pytest.raises(PermissionError):
            os.setuid(0)
        with pytest.raises(PermissionError):
            os.setgid(0)

    in_a_child(check)


def test_no_name_changes_nothing() -> None:
    before = (os.getuid(), os.getgid())
    become("")
    assert (os.getuid(), os.getgid()) == before


def test_unknown_user() -> None:
    with pytest.raises(KeyError):
        become("no-such-user")


def test_patient_after_urgent() -> None:
    def check() -> None:
        be_urgent()
        be_patient()
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_BATCH

    in_a_child(check)
