"""`make run` as a newcomer meets it: start, the printed lines, stop, start again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from harness.maildir import Mailbox
from harness.processes import Process, Reaper, children
from harness.server import RELEVO
from harness.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
READY = "Ctrl-C stops it."
ANY_PORT = ("--smtp-port", "0", "--submission-port", "0", "--submission-tls-port", "0")


class Demo:
    """A running demo and what it printed."""

    def __init__(self, reaper: Reaper, folder: Path, *, name: str = "demo") -> None:
        self.folder = folder
        self.data = folder / "demo-data"
        self.reaper = reaper
        self.log = folder / f"{name}.log"

    def launch(self, *options: str) -> Process:
        """Start it without waiting."""
        words: list[str | Path] = [RELEVO, "demo", "--data", self.data, *options]
        self.process = self.reaper.start(words, log=self.log, cwd=self.folder)
        return self.process

    def start(self, *options: str) -> Demo:
        """Start it on free ports and wait for its last line."""
        self.launch(*(options or ANY_PORT))
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.is_running(), self.process.output()
            return READY in self.process.output()

        wait_for(is_ready, timeout_s=30, what="the demo's last line")

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(self.data / "mail" / "example.test" / "demo")

    def printed(self, pattern: str) -> str:
        """The first group of a pattern in what it printed."""
        match = re.search(pattern, self.process.output(), re.MULTILINE)
        assert match, f"{pattern!r} is not in:\n{self.process.output()}"
        return match[1]

    def shell(self, line: str) -> str:
        """Run a printed line as a newcomer would: in a shell, where the demo was started."""
        number = len(list(self.folder.glob("shell-*.log")))
        log = self.folder / f"shell-{number}.log"
        process = self.reaper.start(["sh", "-c", line], log=log, cwd=self.folder)
        assert process.wait(30) == 0, process.output()
        return process.output()

    def send_first_mail(self) -> None:
        self.shell(self.printed(r"from another terminal:\n +(.+)$"))


def press_ctrl_c(process: Process) -> None:
    """What a terminal does: INT to every process of the foreground group."""
    os.killpg(process.pid, signal.SIGINT)


def test_the_printed_lines_send_a_mail_and_show_it(reaper: Reaper, tmp_path: Path) -> None:
    demo = Demo(reaper, tmp_path).start()
    demo.send_first_mail()
    started = time.monotonic()
    demo.mailbox.wait()
    assert time.monotonic() - started < 1
    shown = demo.shell(demo.printed(r"^ +(cat .+)$"))
    assert "Subject: first mail" in shown
    assert "demo@example.test" in demo.shell(demo.printed(r"^ +(\S*relevo trace .+)$"))
    log = demo.process.output().partition(READY)[2]
    assert "demo@example.test" in log, "accepted and delivered messages are lines on the terminal"


def test_the_printed_submission_line_logs_in(reaper: Reaper, tmp_path: Path) -> None:
    demo = Demo(reaper, tmp_path).start()
    demo.shell(demo.printed(r"password and TLS:\n +(.+)$"))
    [message] = demo.mailbox.wait()
    assert b"ESMTPSA" in message


def test_a_refusal_is_a_line_on_the_terminal(reaper: Reaper, tmp_path: Path) -> None:
    demo = Demo(reaper, tmp_path).start()
    port = int(demo.printed(r"SMTP 127\.0\.0\.1:(\d+)"))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.recv(1000)
        for line in ("EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<nobody@example.test>"):
            client.sendall(line.encode() + b"\r\n")
            reply = client.recv(1000)
    assert reply.startswith(b"550")
    wait_for(lambda: "nobody@example.test" in demo.process.output(), what="the refusal")


def test_ctrl_c_stops_it_cleanly_and_a_restart_keeps_mail_and_password(
    reaper: Reaper, tmp_path: Path
) -> None:
    demo = Demo(reaper, tmp_path).start()
    password = demo.printed(r"password (\S+)")
    demo.send_first_mail()
    first = demo.mailbox.wait()
    press_ctrl_c(demo.process)
    assert demo.process.wait(4) == 0
    assert "Traceback" not in demo.process.output()
    again = Demo(reaper, tmp_path, name="again").start()
    assert again.printed(r"password (\S+)") == password
    assert again.mailbox.messages() == first
    again.shell(again.printed(r"password and TLS:\n +(.+)$"))
    again.mailbox.wait(2)


def test_a_second_demo_on_the_same_data_names_the_process(reaper: Reaper, tmp_path: Path) -> None:
    first = Demo(reaper, tmp_path).start()
    second = Demo(reaper, tmp_path, name="second")
    process = second.launch(*ANY_PORT)
    assert process.wait(15) != 0
    assert str(first.process.pid) in process.output()
    assert "Traceback" not in process.output()
    first.send_first_mail()


@pytest.mark.parametrize("option", ["--smtp-port", "--submission-port", "--submission-tls-port"])
def test_a_taken_port_is_named_with_the_option_that_changes_it(
    reaper: Reaper, tmp_path: Path, option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        ports = dict(zip(ANY_PORT[::2], ANY_PORT[1::2], strict=True)) | {option: port}
        demo = Demo(reaper, tmp_path)
        process = demo.launch(*(word for pair in ports.items() for word in pair))
        assert process.wait(15) != 0
    assert re.search(rf"\b{port}\b", process.output()), process.output()
    assert re.search(rf"{option}\b", process.output()), process.output()
    assert "Traceback" not in process.output()


def test_make_run_starts_the_demo(reaper: Reaper, tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make, "make started these tests"
    demo = Demo(reaper, tmp_path)
    arguments = " ".join(["--data", str(demo.data), *ANY_PORT])
    demo.process = reaper.start(
        [make, "--no-print-directory", "-C", ROOT, "run", f"ARGS={arguments}"], log=demo.log
    )
    demo.wait_until_ready()
    demo.send_first_mail()
    demo.mailbox.wait()
    started = time.monotonic()
    press_ctrl_c(demo.process)
    demo.process.wait(5)
    assert time.monotonic() - started < 5
    assert "Stopped." in demo.process.output()
    assert children(demo.process.pid) == []
