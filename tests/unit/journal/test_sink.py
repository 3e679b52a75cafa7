"""The mail log on its way out: gathered, whole lines, and never a trouble to who writes."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relevo.journal.events import Done, DsnSent, Event
from relevo.journal.sink import MailLog, MailLogUnavailable

EVENT = Done(1795505971.25, "id1", "a@b")
LINE = "id1 from=a@b all done"


class Loop:
    """Stands for the event loop: calls what was put to its end."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log.socket"))
        daemon.settimeout(10)
        yield daemon


def test_file_line_starts_with_local_time(tmp_path: Path, loop: Loop) -> None:
    log = MailLog(str(tmp_path / "mail.log"), call_soon=loop.call_soon)
    log.write(EVENT)
    loop.run()
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(EVENT.time))
    assert (tmp_path / "mail.log").read_text() == f"{local}.250000 {LINE}\n"
    log.close()


def test_lines_of_one_iteration_are_one_write(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    write = os.write

    def recorded(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", recorded)
    log = MailLog(str(tmp_path / "mail.log"), call_soon=loop.call_soon)
    for _ in range(3):
        log.write(EVENT)
    assert len(loop.calls) == 1
    assert not writes
    loop.run()
    assert [data.count(b"\n") for data in writes] == [3]
    log.write(EVENT)
    loop.run()
    assert len(writes) == 2
    log.close()


def test_burst_is_bounded(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "mail.log"
    log = MailLog(str(path), call_soon=loop.call_soon)
    for _ in range(1000):
        log.write(EVENT)
    assert path.read_bytes().count(b"\n") == 512
    loop.run()
    assert path.read_bytes().count(b"\n") == 1000
    log.close()


def test_without_a_loop_every_event_is_written_at_once(tmp_path: Path) -> None:
    log = MailLog(str(tmp_path / "mail.log"), call_soon=None)
    log.write(EVENT)
    assert (tmp_path / "mail.log").read_text().endswith(f"{LINE}\n")
    log.close()


def test_events_that_the_format_does_not_know_leave_nothing(tmp_path: Path, loop: Loop) -> None:
    log = MailLog(str(tmp_path / "mail.log"), call_soon=loop.call_soon)
    log.write(DsnSent(1.0, "id1", "id2", "a@b"))
    assert not loop.calls
    log.close()


def test_close_writes_what_is_gathered_and_later_events_are_dropped(
    tmp_path: Path, loop: Loop
) -> None:
    path = tmp_path / "mail.log"
    log = MailLog(str(path), call_soon=loop.call_soon)
    log.write(EVENT)
    log.close()
    assert path.read_bytes().count(b"\n") == 1
    log.write(EVENT)
    log.reopen()
    loop.run()
    assert path.read_bytes().count(b"\n") == 1


def test_file_and_its_folder_are_made_with_their_modes(tmp_path: Path) -> None:
    log = MailLog(str(tmp_path / "new" / "mail.log"), call_soon=None)
    log.close()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o775
    assert stat.S_IMODE((tmp_path / "new" / "mail.log").stat().st_mode) & ~0o644 == 0


def test_reopen_after_rotation(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "mail.log"
    log = MailLog(str(path), call_soon=loop.call_soon)
    log.write(EVENT)
    path.rename(tmp_path / "mail.log.1")
    log.reopen()
    log.write(EVENT)
    log.close()
    assert (tmp_path / "mail.log.1").read_bytes().count(b"\n") == 1
    assert path.read_bytes().count(b"\n") == 1


def test_failed_reopen_keeps_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "logs" / "mail.log"
    log = MailLog(str(path), call_soon=None)
    (tmp_path / "logs").rename(tmp_path / "old")
    (tmp_path / "logs").write_text("not a folder")
    log.reopen()
    log.write(EVENT)
    log.close()
    assert (tmp_path / "old" / "mail.log").read_bytes().count(b"\n") == 1
    assert "cannot be reopened" in caplog.text


def test_file_that_cannot_be_opened_is_an_error_at_start(tmp_path: Path) -> None:
    with pytest.raises(MailLogUnavailable, match=re.escape(str(tmp_path))):
        MailLog(str(tmp_path), call_soon=None)


def test_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="xml"):
        MailLog("off", "xml", call_soon=None)


def test_full_disk_is_counted_and_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = MailLog("/dev/full", call_soon=None, monotonic=clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            log.write(EVENT)
            clock.now += 25
        assert len(caplog.records) == 1
        clock.now += 25
        log.write(EVENT)
    assert log.lost == 4
    assert [record.getMessage().count("No space left") for record in caplog.records] == [1, 1]
    log.close()


def test_torn_line_is_ended_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mail.log"
    log = MailLog(str(path), call_soon=None)
    write = os.write
    calls = 0

    def fills_up(descriptor: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:10] if calls == 1 else data)

    monkeypatch.setattr(os, "write", fills_up)
    log.write(EVENT)
    log.write(EVENT)
    log.close()
    torn, whole = path.read_text().splitlines()
    assert len(torn) == 10
    assert whole.endswith(LINE)


def test_processes_that_share_a_file_do_not_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"

    def work(name: str) -> None:
        loop = Loop()
        log = MailLog(str(path), call_soon=loop.call_soon)
        for round_ in range(200):
            log.write(Done(float(round_), name * 30, "a@b"))
            log.write(Done(float(round_), name * 30, "a@b"))
            loop.run()
        log.close()

    # Threads with a descriptor each: to the kernel the same as processes.
    threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert len(lines) == 3 * 400
    assert {line.split(" ", 2)[2] for line in lines} == {
        f"{name * 30} from=a@b all done" for name in "xyz"
    }


@pytest.mark.parametrize(("name", "descriptor"), [("stdout", 1), ("stderr", 2)])
def test_standard_streams(name: str, descriptor: int, capfd: pytest.CaptureFixture[str]) -> None:
    log = MailLog(name, call_soon=None)
    log.write(EVENT)
    log.close()
    os.write(descriptor, b"still open\n")
    shown = capfd.readouterr()
    text = shown.out if name == "stdout" else shown.err
    assert text.endswith(f" {LINE}\nstill open\n")


def test_off_writes_nothing(loop: Loop) -> None:
    log = MailLog("off", call_soon=loop.call_soon)
    log.write(EVENT)
    log.flush()
    log.reopen()
    log.close()
    assert not loop.calls


def test_json_lines_are_json(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    log = MailLog(str(path), "json", call_soon=None)
    log.write(EVENT)
    log.close()
    assert json.loads(path.read_text())["kind"] == "done"


def test_plain_lines_have_colours_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    log = MailLog("stdout", "plain", call_soon=None, colours=True)
    log.write(EVENT)
    assert "\x1b[" in capfd.readouterr().out


def test_syslog_gets_a_datagram_a_line(tmp_path: Path, syslog: socket.socket, loop: Loop) -> None:
    log = MailLog(
        "syslog", call_soon=loop.call_soon, tag="chasquid", syslog_socket=tmp_path / "log.socket"
    )
    log.write(EVENT)
    log.write(EVENT)
    loop.run()
    for _ in range(2):
        datagram = syslog.recv(10_000).decode()
        assert re.fullmatch(
            rf"<22>[A-Z][a-z]{{2}} [ 1-3]\d \d\d:\d\d:\d\d chasquid\[{os.getpid()}\]: {LINE}",
            datagram,
        )
    log.close()


def test_syslog_daemon_that_was_restarted_is_found_again(
    tmp_path: Path, syslog: socket.socket
) -> None:
    path = tmp_path / "log.socket"
    log = MailLog("syslog", call_soon=None, syslog_socket=path)
    syslog.close()
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as restarted:
        restarted.bind(str(path))
        restarted.settimeout(10)
        log.write(EVENT)
        assert restarted.recv(10_000).endswith(LINE.encode())
    assert log.lost == 0
    log.close()


def test_syslog_daemon_that_does_not_keep_up_costs_lines_not_time(
    tmp_path: Path, syslog: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    log = MailLog("syslog", call_soon=None, syslog_socket=tmp_path / "log.socket")
    for _ in range(2000):
        log.write(EVENT)
    assert log.lost > 0
    assert len(caplog.records) == 1
    log.close()


def test_missing_syslog_falls_back_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    log = MailLog("syslog", call_soon=None, syslog_socket=tmp_path / "none")
    log.write(EVENT)
    log.write(EVENT)
    assert capfd.readouterr().err.count(f" {LINE}\n") == 2
    assert len(caplog.records) == 1
    log.close()


def test_odd_text_never_raises(tmp_path: Path) -> None:
    log = MailLog(str(tmp_path / "mail.log"), call_soon=None)
    events: list[Event] = [Done(1.0, "i\udcff", "\x00\n"), Done(1.9999999, "", "")]
    for event in events:
        log.write(event)
    log.close()
    assert (tmp_path / "mail.log").read_bytes().count(b"\n") == 2
