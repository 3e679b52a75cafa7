"""Running commands: stdin as a file, bounded output, deadlines, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from relevo.delivery.commands import (
    MAX_OUTPUT,
    MEMFD_LIMIT,
    Command,
    CommandNotStarted,
    CommandRunner,
    Ended,
    describe_end,
    describe_output,
    environment,
)
from unit.delivery.loops import Runner


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def shell(script: str) -> Command:
    return Command(("/bin/sh", "-c", script))


def call(
    run: Runner, directory: Path, command: Command, stdin: bytes = b"in", *, timeout_s: float = 10
) -> Ended:
    async def within() -> Ended:
        runner = CommandRunner(directory, timeout_s=timeout_s, limit=4)
        return await runner.run(command, [stdin], len(stdin))

    return run(within())


def is_alive(pid: int) -> bool:
    """Does the process run? (A zombie does not.)"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_gone(pid: int) -> bool:
    """A killed process is gone in a moment; the kernel owes us no instant."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if not is_alive(pid):
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize("status", [0, 1, 75, 255])
def test_exit_status_and_output(run: Runner, tmp_path: Path, status: int) -> None:
    ended = call(run, tmp_path, shell(f"echo out; echo err >&2; exit {status}"))
    assert ended == Ended(status, None, b"out\nerr\n")


def test_signal_is_told_apart_from_an_exit(run: Runner, tmp_path: Path) -> None:
    ended = call(run, tmp_path, shell("kill -SEGV $$"))
    assert (ended.status, ended.signal) == (None, signal.SIGSEGV)


@pytest.mark.parametrize("size", [0, 10, 5_000, MEMFD_LIMIT, MEMFD_LIMIT + 1, 5_000_000])
def test_stdin_is_whole_whatever_its_size(run: Runner, tmp_path: Path, size: int) -> None:
    ended = call(run, tmp_path, shell("wc -c"), b"x" * size)
    assert ended.output.strip() == str(size).encode()


def test_command_that_never_reads_its_stdin(run: Runner, tmp_path: Path) -> None:
    assert call(run, tmp_path, shell("exit 0"), b"x" * 5_000_000).status == 0


def test_small_stdin_cannot_be_written_to(run: Runner, tmp_path: Path) -> None:
    ended = call(run, tmp_path, shell("echo spoilt >&0 || exit 9"))
    assert ended.status == 9


def test_huge_output_is_cut_and_does_not_block(run: Runner, tmp_path: Path) -> None:
    ended = call(run, tmp_path, shell("head -c 30000000 /dev/zero; exit 3"))
    assert ended.status == 3
    assert len(ended.output) == MAX_OUTPUT


def test_output_written_just_before_the_end_is_kept(run: Runner, tmp_path: Path) -> None:
    for number in range(20):
        assert call(run, tmp_path, shell(f"echo {number}")).output == f"{number}\n".encode()


def test_grandchild_that_holds_the_output_is_not_waited_for_and_dies(
    run: Runner, tmp_path: Path
) -> None:
    began = time.monotonic()
    ended = call(run, tmp_path, shell("sleep 600 & echo $!; exit 0"))
    assert time.monotonic() - began < 5
    assert ended.status == 0
    assert wait_gone(int(ended.output))


def test_grandchild_in_its_own_session_that_holds_the_output_is_not_waited_for(
    run: Runner, tmp_path: Path
) -> None:
    began = time.monotonic()
    ended = call(run, tmp_path, shell("setsid sleep 600 & echo $!; sleep 0.2; exit 0"))
    assert time.monotonic() - began < 5
    assert ended.status == 0
    os.kill(int(ended.output), signal.SIGKILL)


def test_deadline_kills_the_whole_group_even_if_it_ignores_term(
    run: Runner, tmp_path: Path
) -> None:
    script = "trap '' TERM HUP; sleep 600 & echo $! $$; while :; do sleep 1; done"
    ended = call(run, tmp_path, shell(script), timeout_s=0.5)
    assert ended.is_timeout
    child, leader = map(int, ended.output.split())
    assert wait_gone(child)
    assert not Path(f"/proc/{leader}").exists(), "not reaped"


def test_stopped_command_ends_at_its_deadline(run: Runner, tmp_path: Path) -> None:
    assert call(run, tmp_path, shell("kill -STOP $$"), timeout_s=0.3).is_timeout


def test_cancelled_call_kills_and_reaps(run: Runner, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    os.mkfifo(pid_file)

    async def cancelled() -> int:
        runner = CommandRunner(tmp_path, timeout_s=60, limit=1)
        task = asyncio.create_task(runner.run(shell("echo $$ > pid; exec sleep 600"), [b""], 0))
        pid = int(await asyncio.to_thread(pid_file.read_text))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    assert not Path(f"/proc/{run(cancelled())}").exists()


def test_commands_at_once_are_bounded(run: Runner, tmp_path: Path) -> None:
    script = "mkdir run.$$; ls | grep -c run; sleep 0.05; rmdir run.$$"

    async def many() -> list[Ended]:
        runner = CommandRunner(tmp_path, timeout_s=10, limit=3)
        return await asyncio.gather(*(runner.run(shell(script), [b""], 0) for _ in range(12)))

    assert max(int(ended.output.split()[0]) for ended in run(many())) <= 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(("/absent/agent",), "No such file", id="missing"),
        pytest.param(("no-such-command-anywhere",), "No such file", id="missing-in-path"),
        pytest.param(("/etc/passwd",), "Permission denied", id="not-executable"),
        pytest.param(("./text",), "Exec format error", id="no-program"),
        pytest.param(("/bin/true", "a\0b"), "null", id="nul-in-argument"),
    ],
)
def test_command_that_cannot_be_run(
    run: Runner, tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    (tmp_path / "text").write_text("neither script nor program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(CommandNotStarted, match=why):
        call(run, tmp_path, Command(words))


def test_slot_is_free_again_after_a_failed_start(run: Runner, tmp_path: Path) -> None:
    async def twice() -> Ended:
        runner = CommandRunner(tmp_path, timeout_s=10, limit=1)
        with pytest.raises(CommandNotStarted):
            await runner.run(Command(("/absent",)), [b""], 0)
        return await runner.run(shell("exit 0"), [b""], 0)

    assert run(twice()).status == 0


def test_environment_is_small(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEVO_SECRET", "x")
    monkeypatch.setenv("LD_PRELOAD", "")
    ended = call(run, tmp_path, Command(("/usr/bin/env",), {"SENDER": "a@b"}))
    names = {line.partition(b"=")[0].decode() for line in ended.output.splitlines()}
    assert names <= {"PATH", "HOME", "USER", "SHELL", "LANG", "PWD", "SENDER"}
    assert {"PATH", "PWD", "SENDER"} <= names


def test_path_has_a_value_even_if_the_server_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert "/usr/bin" in environment(Path("/"), {})["PATH"]


def test_working_directory_session_and_descriptors(run: Runner, tmp_path: Path) -> None:
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        script = "pwd; ps -o pid=,pgid=,sid= -p $$; ls -v /proc/$$/fd | tr '\\n' ' '"
        lines = call(run, tmp_path, shell(script)).output.decode().splitlines()
    finally:
        os.close(leak)
    assert lines[0] == str(tmp_path)
    assert len(set(lines[1].split())) == 1
    assert lines[1].split()[0] != str(os.getpid())
    assert lines[2].split()[:3] == ["0", "1", "2"]
    [tether] = lines[2].split()[3:]
    assert tether != str(leak)


def test_no_descriptor_is_left(run: Runner, tmp_path: Path) -> None:
    async def many() -> int:
        runner = CommandRunner(tmp_path, timeout_s=0.2, limit=4)
        await runner.run(shell("exit 0"), [b""], 0)
        before = open_descriptors()
        for script in ("exit 0", "sleep 60", "sleep 60 & exit 0", "head -c 200000 /dev/zero"):
            await runner.run(shell(script), [b"x" * 300_000], 300_000)
        with pytest.raises(CommandNotStarted):
            await runner.run(Command(("/absent",)), [b""], 0)
        return open_descriptors() - before

    # the first use of a thread may make the loop open its own; not one a call
    assert run(many()) <= 1


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (Ended(7, None, b"perm out\n"), 'exit status 7: "perm out"'),
        (Ended(1, None, b""), "exit status 1"),
        (Ended(None, 9, b""), "ended by signal SIGKILL"),
        (Ended(None, 63, b""), "ended by signal 63"),
        (Ended(None, 9, b"x", is_timeout=True), 'it did not end in time and was killed: "x"'),
    ],
)
def test_end_is_described(ended: Ended, text: str) -> None:
    assert describe_end(ended) == text


def test_described_output_is_one_bounded_printable_line() -> None:
    assert describe_output(b"a\r\nb\x1b[31m\xff") == "a\\r\\nb\\x1b[31m\ufffd"
    shown = describe_output(b"\x00" * 10_000)
    assert len(shown) == 501
    assert shown.isprintable()
