"""relevo under systemd: what it says of itself, and the units of the examples."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.debian import program
from harness.server import RelevoFactory, run_relevo
from harness.service_manager import ServiceManager
from relevo.service.control import ask

UNITS = Path(__file__).resolve().parents[2] / "examples" / "systemd"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path, watchdog_s=1.0)
    yield manager
    manager.close()


def test_start_reload_restart_and_stop_are_told(
    start_relevo: RelevoFactory, manager: ServiceManager
) -> None:
    server = start_relevo(env=manager.environment)
    manager.wait_for("READY=1")
    manager.wait_for("WATCHDOG=1")
    assert any(line.startswith(f"STATUS=2 workers on {server.smtp}") for line in manager.heard)
    for number, begin in ((signal.SIGHUP, "RELOADING=1"), (signal.SIGUSR2, "STATUS=restarting")):
        server.process.send(number)
        manager.wait_for(begin)
        assert "MONOTONIC_USEC=" in "".join(manager.heard)
        manager.wait_for("READY=1")
    manager.wait_for("WATCHDOG=1")
    with server.dialog():
        server.process.send(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
    assert server.process.wait() == 0


def test_a_reload_that_is_refused_ends_as_well(
    start_relevo: RelevoFactory, manager: ServiceManager
) -> None:
    server = start_relevo(env=manager.environment)
    manager.wait_for("READY=1")
    server.config.write_settings({"limits.errors": "many"})
    server.reload()
    manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    assert "STATUS=the last reload was refused; see the log" in manager.heard


@pytest.mark.alone
def test_the_watchdog_hears_nothing_while_a_worker_hangs(
    start_relevo: RelevoFactory, manager: ServiceManager
) -> None:
    server = start_relevo(env=manager.environment, settings={"server.hang_timeout": "1s"})
    manager.wait_for("READY=1")
    before = server.workers()
    os.kill(min(before), signal.SIGSTOP)
    server.wait_for_log("hangs: no sign of life for 1 s")
    while not manager.silence("WATCHDOG=1", 1.2):
        assert min(before) in {each["pid"] for each in ask(server.config.data, "status")["workers"]}
    manager.wait_for("WATCHDOG=1")
    assert min(before) not in server.workers()


@pytest.mark.needs_debian("systemd")
def test_the_units_of_the_examples_are_sound(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        shutil.copy(unit, tmp_path)
    service = tmp_path / "relevo.service"
    service.write_text(service.read_text().replace("/opt/relevo/bin/relevo", "/bin/true"))
    result = subprocess.run(
        [program("systemd-analyze"), "verify", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in result.stderr.splitlines() if "relevo" in line]
    assert (result.returncode, ours) == (0, [])


def test_the_reload_of_the_unit_is_a_command_that_there_is(
    start_relevo: RelevoFactory,
) -> None:
    [line] = [
        line for line in (UNITS / "relevo.service").read_text().splitlines() if "ExecReload" in line
    ]
    words = line.partition("/opt/relevo/bin/relevo ")[2].replace("/etc/relevo", "{}").split()
    server = start_relevo()
    folder = server.config.path
    process = run_relevo(server.reaper, *(word.format(folder) for word in words), folder=folder)
    assert process.popen.returncode == 0, process.output()
