"""Hooks that misbehave cost their own message at most a 451, and nobody else anything.

For each: the reply, the line in the log, the latency of other sessions, no process left, and
bounded memory.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.processes import reaping
from harness.server import RelevoFactory
from harness.waiting import wait_for
from system.hooks_hostile.site import MEMORY_SLACK, NORMAL_MS, HookSite, Latency

DEADLINE_S = 1.5
SLACK_S = 1.5  # of a busy machine
BOMB = "int fork(void); int main(void) { for (;;) fork(); }\n"


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HookSite]:
    with reaping(request) as reaper:
        server = RelevoFactory(reaper, tmp_path_factory.mktemp("hostile"))(
            settings={
                "hooks.post_data_timeout": f"{DEADLINE_S}s",
                "hooks.breaker_failures": 0,
                "smtp.max_message_size": "64MiB",
                "delivery.local": "discard",
            }
        )
        yield HookSite(server)


@pytest.fixture
def site(running: HookSite) -> Iterator[HookSite]:
    running.clear()
    running.write("exit 0")
    assert running.send().code == 250  # the launchers are there
    yield running
    running.clear()


@dataclass(frozen=True, slots=True)
class Hostile:
    """What a hook does, what its message gets for it and what the log says."""

    text: str
    code: int
    log: str
    at_deadline: bool = False


HOOKS = {
    "ignores-term-and-hangs": Hostile(
        "trap '' TERM INT HUP\nwhile :; do sleep 600; done", 451, "did not end within", True
    ),
    "leaves-a-daemon-with-its-stdout": Hostile("(sleep 600) &\nexit 0", 250, ""),
    "leaves-setsid-daemons": Hostile(
        "for i in 1 2 3; do setsid sh -c 'setsid sleep 600 & sleep 600' & done\nexit 0", 250, ""
    ),
    "prints-1-gb": Hostile("head -c 1000000000 /dev/zero", 451, "wrote too much"),
    "prints-1-gb-to-stderr": Hostile("head -c 1000000000 /dev/zero >&2", 451, "wrote too much"),
    "prints-nuls": Hostile(r"printf 'X-Evil: a\000b\n'", 250, "output ignored"),
    "prints-half-a-header": Hostile("printf X-Evil", 250, "output ignored"),
    "prints-a-bare-cr": Hostile(r"printf 'X-Evil: a\rb\n'", 250, "output ignored"),
    "prints-header-blank-text": Hostile(r"printf 'X-Evil: a\n\ntext\n'", 250, "output ignored"),
    "prints-100-kb-without-a-newline": Hostile(
        "head -c 100000 /dev/zero | tr '\\0' x", 451, "wrote too much"
    ),
    "kills-its-parent": Hostile("kill -9 $PPID\nsleep 600", 451, "launcher died"),
    "kills-itself": Hostile("kill -9 $$", 451, "signal 9"),
    "stops-itself": Hostile("kill -STOP $$", 451, "did not end within", True),
    "forks-without-end-in-shell": Hostile("b() { b & b & }\nb\nsleep 600", 451, "processes"),
    "forks-without-end": Hostile("{bomb}", 451, "processes"),
}


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bomb")
    (folder / "bomb.c").write_text(BOMB)
    subprocess.run(["cc", "-o", folder / "bomb", folder / "bomb.c"], check=True, timeout=60)
    return folder / "bomb"


@pytest.mark.parametrize("hostile", HOOKS.values(), ids=HOOKS.keys())
def test_hostile_hook(site: HookSite, bomb: Path, hostile: Hostile) -> None:
    idle = site.memory()
    usual = site.latency()
    log = len(site.server.process.output())
    site.write_for_one(hostile.text.replace("{bomb}", str(bomb)))
    most = [0]
    with site.others() as meanwhile, watching_memory(site, most):
        start = time.monotonic()
        reply = site.send()
        seconds = time.monotonic() - start
        site.wait_until_gone()
        assert site.send(sender="good@r.test").code == 250
    assert reply.code == hostile.code, reply
    assert reply.text
    if hostile.at_deadline:
        assert DEADLINE_S - 0.1 <= seconds < DEADLINE_S + SLACK_S
    else:
        assert seconds < DEADLINE_S
    if hostile.log:
        site.server.wait_for_log(hostile.log, after=log)
    assert_normal(meanwhile[0], usual)
    assert most[0] <= idle + MEMORY_SLACK
    assert site.memory() <= idle + MEMORY_SLACK // 4


def assert_normal(meanwhile: Latency, usual: Latency) -> None:
    """Twice the usual p99, or what is normal on a busy machine."""
    assert meanwhile.p99 <= max(2 * usual.p99, NORMAL_MS), (meanwhile, usual)


class watching_memory:  # noqa: N801 - reads as a context
    """Looks at the server's memory all the time; the largest goes to `most`."""

    def __init__(self, site: HookSite, most: list[int]) -> None:
        self._site = site
        self._most = most
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            self._most[0] = max(self._most[0], self._site.memory())

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)


@pytest.mark.parametrize("output", ["X-Evil", r"X-Evil: a\000b\n", r"X-Evil: a\rb\n"])
def test_bad_output_changes_nothing_in_the_message(
    running: HookSite, tmp_path: Path, output: str
) -> None:
    """The next hook sees the message as the bad one left it."""
    running.write(f"printf '{output}'")
    folder = running.folder / "post-data.d"
    folder.mkdir()
    try:
        seen = tmp_path / "seen"
        second = folder / "10-second"
        second.write_text(f"#!/bin/sh\ncat > {seen}\n")
        second.chmod(0o755)
        assert running.send().code == 250
        assert b"X-Evil" not in seen.read_bytes()
        assert seen.read_bytes().startswith(b"Authentication-Results: ")
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        running.clear()


def test_hook_that_does_not_read_50_mb(site: HookSite) -> None:
    site.write_for_one("exit 0")
    idle = site.memory()
    message = b"A: b\r\n\r\n" + (b"x" * 998 + b"\r\n") * 50_000
    assert site.send(message).code == 250
    site.wait_until_gone()
    assert site.memory() <= idle + MEMORY_SLACK


def test_hook_that_is_replaced_while_it_runs(site: HookSite, tmp_path: Path) -> None:
    started, go_on = tmp_path / "started", tmp_path / "go-on"
    site.write(f"touch {started}\nwhile [ ! -e {go_on} ]; do sleep 0.01; done\nexit 0")
    replies: list[int] = []
    thread = threading.Thread(target=lambda: replies.append(site.send().code))
    thread.start()
    wait_for(started.exists, what="the first hook")
    site.write("exit 20")
    assert site.send().code == 554
    go_on.touch()
    thread.join(10)
    assert replies == [250]


@pytest.mark.parametrize(
    ("kind", "code", "log"),
    [
        ("no-run-bit", 451, "cannot be started"),
        ("folder", 451, "it is a folder"),
        ("dangling-link", 250, ""),
        ("link-loop", 451, "Too many levels of symbolic links"),
        ("no-interpreter", 451, "cannot be started"),
        ("not-a-program", 451, "cannot be started"),
        ("writable-by-others", 451, "others may write to it"),
    ],
)
def test_file_that_is_no_hook(site: HookSite, kind: str, code: int, log: str) -> None:
    usual = site.latency()
    after = len(site.server.process.output())
    site.clear()
    match kind:
        case "no-run-bit":
            site.write("exit 0", mode=0o644)
        case "folder":
            site.hook.mkdir()
        case "dangling-link":
            site.hook.symlink_to("nowhere")
        case "link-loop":
            site.hook.symlink_to("post-data")
        case "no-interpreter":
            site.hook.write_text("#!/no/such/program\n")
            site.hook.chmod(0o755)
        case "not-a-program":
            site.hook.write_text("exit 0\n")
            site.hook.chmod(0o755)
        case _:
            site.write("exit 0", mode=0o777)
    with site.others() as meanwhile:
        reply = site.send()
    assert reply.code == code, reply
    assert reply.text
    if log:
        site.server.wait_for_log(log, after=after)
    assert_normal(meanwhile[0], usual)
