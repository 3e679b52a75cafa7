"""The compiled part of a launcher: what it serves by itself, and what it leaves to Python.

Each test has a process of its own for it, which is as a launcher is: SIGCHLD and SIGTERM blocked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from relevo.hooks.prompt import LIBRARY, Event, library
from relevo.hooks.wire import How, Report, Request, decode_report, encode_request

ROOT = Path(__file__).parents[3]
SOURCES = [str(ROOT / "src/relevo/hooks" / name) for name in ("prompt.c", "asking.c")]
IDLE_S = 0.2

SERVE = """
import json, mmap, os, select, signal, socket, sys, time
from relevo.hooks.prompt import PromptCalls, Surroundings, library

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM])
requests = socket.socket(fileno=int(sys.argv[1]))
is_stopping = False
def stop(*_):
    global is_stopping
    is_stopping = True
signal.signal(signal.SIGTERM, stop)
poller = select.epoll()
poller.register(requests.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
packet, places = mmap.mmap(-1, 65536), mmap.mmap(-1, 4)
places[:] = bytes([0, 3, 3, 3])
bell, rope = os.pipe()
os.set_blocking(bell, False)
around = Surroundings(
    pool="0  0", requests=requests.fileno(), poller=poller.fileno(),
    null=os.open(os.devnull, os.O_RDONLY), bell=rope, place=0, few=2, cpu_s=7, nice=5,
    idle_s=float(sys.argv[2]), moment=0.2, prompt=0.4,
)
calls = PromptCalls(library(), around, packet, places)
print("ready", flush=True)
found = calls.serve(float(sys.argv[3]))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
if found.event.name == "RUNNING":
    os.kill(found.pid, signal.SIGKILL)
try:
    rings = len(os.read(bell, 100))
except BlockingIOError:
    rings = 0
print(json.dumps({
    "event": found.event.name, "packet": len(found.packet), "files": len(found.files),
    "pid": found.pid, "status": found.status, "place": places[0], "rings": rings,
    "stopping": is_stopping, "open": len(os.listdir("/proc/self/fd")), "start": found.start,
    "waited": [os.read(pipe, 65536).decode()[:9] for pipe in found.pipes if found.pid],
}))
"""


def request(
    words: Sequence[bytes],
    *,
    stdin: bytes | None = b"input\n",
    pool: str = "0  0",
    environment: bytes = b"PATH=/usr/bin:/bin",
    patience: float = 60.0,
    timeout: float = 60.0,
    max_output: int = 100_000,
    context: bytes | None = None,
) -> bytes:
    return encode_request(
        Request(
            pool, list(words), environment, [stdin] if context is None else [stdin, context],
            time.monotonic(), patience, timeout, max_output, 64, is_v2=context is not None,
        )
    )  # fmt: skip


class Served:
    """What came of requests to one process: the reports, and what was handed over at the end."""

    def __init__(
        self,
        *packets: bytes,
        files: Sequence[int] = (),
        idle_s: float = IDLE_S,
        counted_until: float = float("inf"),
        signal_number: int = 0,
        hangs_up: bool = False,
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ends = []
        with ours, theirs:
            os.set_inheritable(theirs.fileno(), True)
            command = [
                sys.executable, "-c", SERVE,
                str(theirs.fileno()), str(idle_s), str(counted_until),
            ]  # fmt: skip
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()], text=True
            ) as process:
                theirs.close()
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                for packet in packets:
                    answer, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    socket.send_fds(ours, [packet], [end.fileno(), *files])
                    end.close()
                    ends.append(answer)
                if hangs_up:
                    ours.close()
                if signal_number:
                    process.send_signal(signal_number)
                try:
                    output, _ = process.communicate(timeout=20)
                finally:
                    process.kill()
        assert process.returncode == 0
        self.found: dict[str, Any] = json.loads(output)
        self.event = Event[self.found["event"]]
        self.reports: list[Report] = []
        for end in ends:
            end.setblocking(False)
            with end:
                try:
                    self.reports.append(decode_report(end.recv(100_000)))
                except (BlockingIOError, OSError, ValueError):
                    continue

    @property
    def report(self) -> Report:
        [report] = self.reports
        return report


@cache
def open_at_first() -> int:
    """Descriptors of a process that has served nothing."""
    return int(Served().found["open"])


def shell(text: str) -> list[bytes]:
    return [b"/bin/sh", b"-c", text.encode()]


def test_it_is_built_where_there_is_a_compiler() -> None:
    assert shutil.which("cc") is not None, "tests need a C compiler"
    assert library() is not None, f"{LIBRARY} is missing or old; make setup"


def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    command += ["-fPIC", "-shared", "-o", str(tmp_path / "lib.so"), *SOURCES]
    subprocess.run(command, check=True)


def test_an_ordinary_call_is_answered_and_nothing_is_left() -> None:
    served = Served(request(shell('cat; echo "$A"; echo bad >&2; exit 7'), environment=b"A=b=c"))
    report = served.report
    assert (report.how, report.status, report.detail) == (How.EXITED, 7, "")
    assert (report.output, report.errors) == (b"input\nb=c\n", b"bad\n")
    assert 0 < report.seconds < 5
    assert served.event is Event.IDLE
    assert served.found["place"] == 0
    assert served.found["open"] == open_at_first()  # no descriptor is left


def test_a_signal_is_told_and_many_calls_follow_each_other() -> None:
    served = Served(request(shell("kill -9 $$")), *[request(shell(f"exit {n}")) for n in range(9)])
    assert [report.status for report in served.reports] == [9, *range(9)]
    assert served.reports[0].how is How.SIGNALLED


def test_contract_v2_has_its_context_and_its_verdict() -> None:
    served = Served(request(shell("echo said; cat <&3 >&4; cat >&4"), context=b"context "))
    assert served.report.output == b"context input\n"
    assert served.report.errors == b"said\n"


def test_an_input_may_be_a_file_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("passed")
    with (tmp_path / "file").open() as file:
        served = Served(request([b"/bin/cat"], stdin=None), files=[file.fileno()])
    assert served.report.output == b"passed"


def test_the_program_has_its_limits_and_its_group() -> None:
    served = Served(request(shell("ulimit -t; nice; cut -d' ' -f1,5 /proc/$$/stat")))
    cpu_s, nice, numbers = served.report.output.decode().splitlines()
    assert (cpu_s, int(nice)) == ("7", os.nice(0) + 5)
    assert len(set(numbers.split())) == 1


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"\x00", id="no-request"),
        pytest.param(request([b"/bin/true"])[:-1], id="cut-off"),
        pytest.param(request([b"/bin/true"]) + b"\x00", id="more-than-a-request"),
        pytest.param(request([]), id="no-words"),
        pytest.param(request([b"/bin/true"] * 65), id="many-words"),
        pytest.param(request([b"/bin/true", b"a\0b"]), id="zero-octet"),
        pytest.param(request([b"/bin/true", b"x" * 40_000]), id="long-word"),
        pytest.param(request([b"/bin/true"], environment=b"A=\0" * 65), id="many-variables"),
        pytest.param(request([b"/bin/true"], environment=b"x" * 40_000), id="long-variable"),
        pytest.param(request([b"/bin/true"], stdin=None), id="no-file"),
        pytest.param(request([b"/bin/true"], pool="1  0"), id="another-pool"),
        pytest.param(request([b"/bin/true"], patience=-1.0), id="waited-too-long"),
        pytest.param(request([b"/no/such"]), id="no-program"),
        pytest.param(request([b"/etc/passwd"]), id="no-run-bit"),
        pytest.param(request([b"/bin"]), id="folder"),
    ],
)
def test_what_is_not_ordinary_is_left_to_python_untouched(packet: bytes) -> None:
    served = Served(packet)
    assert (served.event, served.reports) == (Event.REQUEST, [])
    assert served.found["packet"] == len(packet)
    assert (served.found["files"], served.found["place"]) == (1, 1)
    assert served.found["open"] == open_at_first() + 1


def test_limits_that_hold_no_more_are_set_by_python() -> None:
    assert Served(request([b"/bin/true"]), counted_until=0.0).event is Event.REQUEST


def test_the_last_idle_launcher_rings_for_another() -> None:
    assert Served(request([b"/no/such"])).found["rings"] == 1


def test_what_takes_longer_goes_on_in_python() -> None:
    served = Served(request(shell("echo so far; exec sleep 60")))
    assert (served.event, served.reports) == (Event.RUNNING, [])
    assert served.found["waited"][0] == "so far\n"
    assert served.found["place"] == 2  # long
    assert served.found["files"] == 1


def test_a_deadline_that_is_sooner_holds() -> None:
    assert Served(request(shell("exec sleep 60"), timeout=0.01)).event is Event.RUNNING


@pytest.mark.parametrize("most", [100_000, 10])
def test_much_output_is_read_by_python(most: int) -> None:
    size = 20_000 if most == 100_000 else 11
    served = Served(request(shell(f"head -c {size} /dev/zero | tr '\\0' y"), max_output=most))
    assert (served.event, served.reports) == (Event.ENDED, [])
    assert os.waitstatus_to_exitcode(served.found["status"]) == 0
    assert served.found["waited"] == ["y" * 9, ""]


def test_output_up_to_the_limit_and_errors_as_far_as_they_are_kept() -> None:
    served = Served(
        request(shell("head -c 16384 /dev/zero; head -c 60000 /dev/zero >&2"), max_output=16384)
    )
    assert (len(served.report.output), len(served.report.errors)) == (16384, 16384)


def test_processes_left_behind_are_python_s_after_the_answer() -> None:
    served = Served(request(shell("sleep 1 >/dev/null 2>&1 & exit 3")))
    assert served.report.status == 3
    # The child of a shell becomes ours only below a subreaper; a launcher is one.
    assert served.event in {Event.LEFTOVERS, Event.IDLE}


def test_the_end_of_all_callers_ends_it() -> None:
    assert Served(hangs_up=True, idle_s=20.0).event is Event.CLOSED


def test_term_is_heard_while_it_waits() -> None:
    served = Served(idle_s=20.0, signal_number=signal.SIGTERM)
    assert served.event is Event.STOPPED
    assert served.found["stopping"]


def test_term_is_heard_though_requests_never_end() -> None:
    packets = [request(shell("kill -TERM $PPID; exit 0"))] * 5
    served = Served(*packets, idle_s=20.0)
    assert served.event is Event.STOPPED
    assert len(served.reports) == 1


def test_another_library_is_none(tmp_path: Path) -> None:
    assert library(tmp_path / "missing.so") is None
    (tmp_path / "text.so").write_text("no library")
    assert library(tmp_path / "text.so") is None


@pytest.mark.parametrize(
    ("compiler", "tag"), [("cc", "-linux_"), ("no-such-compiler", "-any"), ("false", "-any")]
)
def test_a_wheel_is_valid_with_and_without_a_compiler(
    tmp_path: Path, compiler: str, tag: str
) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = {**os.environ, "CC": compiler}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.stem.partition("-py3-none")[2].startswith(tag)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [about] = [name for name in names if name.endswith("/WHEEL")]
        said = archive.read(about).decode()
    assert ("relevo/hooks/libhooks.so" in names) is (compiler == "cc")
    assert ("Root-Is-Purelib: true" in said) is (compiler != "cc")
    assert not [name for name in names if name.endswith((".c", ".h"))]
