"""Every form against every way to misbehave: the same outcome, and nothing is left of it.

Programs (worker, python) run below a real host, services (http, milter, policy) are sockets of the
test. For each: the refusal, its reason in the why record and in the log, within the deadline; the
event loop goes on; the next call is served; no process, no descriptor and no memory stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from harness.processes import children
from harness.waiting import wait_for
from relevo.hooks.caller import Caller
from relevo.hooks.contract import Client
from relevo.hooks.contract.contexts import RcptContext
from relevo.hooks.host import PoolSockets
from relevo.hooks.stages import StageHooks
from unit.hooks.conftest import MakeSite, Site
from unit.hooks.test_service_forms import GOOD, NEGOTIATED, TEMPFAIL, Peer, packet, serving

LONGEST_S = 4.5  # the deadline is 1.5 s at most; the rest is for a busy machine
IS_FULL = os.environ.get("RELEVO_HOSTILE") == "full"
GROWTH = 16 * 1024 * 1024
MOST_HELD_S = 1.0
BIG = 50_000_000
PIECE = 65536

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SERVICES: dict[tuple[str, str], tuple[bytes, str]] = {
    ("http", "closes"): (b"", "closed"),
    ("http", "garbage"): (b"\0\xff\r\n\r\n", ""),
    ("http", "half"): (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{", ""),
    ("http", "oversize"): (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * BIG, ""
    ),
    ("http", "endless-chunks"): (
        CHUNKED + b"1\r\nx\r\n" * 5_000_000, "chunks"
    ),
    ("milter", "closes"): (b"", ""),
    ("milter", "garbage"): (b"\xff" * 64, ""),
    ("milter", "half"): (NEGOTIATED + b"\0\0\0\x20i\0", ""),
    ("milter", "oversize"): (NEGOTIATED + b"\x7f\xff\xff\xff" + b"h" * BIG, ""),
    ("milter", "wrong-answer"): (NEGOTIATED + packet(b"h", b"X-Evil\0y\0"), ""),
    ("milter", "endless-progress"): (NEGOTIATED + packet(b"p") * 2_000_000, ""),
    ("policy", "closes"): (b"", ""),
    ("policy", "garbage"): (b"\0\xff\xfe\n\n", ""),
    ("policy", "half"): (b"action=dun", ""),
    ("policy", "oversize"): (b"action=" + b"x" * BIG, ""),
    ("policy", "endless-lines"): (b"a=b\n" * 10_000_000, ""),
}  # fmt: skip
SILENT = [(form, what) for form in GOOD for what in ("silent", "late")]

LINE = 'b\'{"id":%d,"answer":{}}\\n\' % number'
NO_SUCH = 'b\'{"id":99999,"answer":{}}\\n\''
PROGRAMS: dict[tuple[str, str], tuple[str, str]] = {
    ("worker", "dies"): ("os._exit(3)", "its worker process is gone: exit status 3"),
    ("worker", "is-killed"): ("os.kill(os.getpid(), 9)", "is gone: ended by signal 9"),
    ("worker", "silent"): ("time.sleep(60)", "did not end within"),
    ("worker", "late"): (f"time.sleep(2.2); raw({LINE})", "did not end within"),
    ("worker", "garbage"): ("raw(b'\\0\\xff garbage\\n')", "no answer"),
    ("worker", "half"): ("raw(b'{\"id\":'); os._exit(0)", "its worker process is gone"),
    ("worker", "closes"): ("os.close(1); time.sleep(60)", "killed"),
    ("worker", "oversize"): (f"raw(b'x' * {BIG})", "too long"),
    ("worker", "wrong-id"): (f"raw({NO_SUCH})", "answered a call that there is not"),
    ("worker", "two-answers"): (f"raw({LINE} + {LINE})", "answered a call that there is not"),
    ("worker", "floods-stderr"): (
        f"os.write(2, b'x' * {BIG}); time.sleep(60)", "did not end within"
    ),
    ("python", "dies"): ("os._exit(3)", "its worker process is gone: exit status 3"),
    ("python", "is-killed"): ("os.kill(os.getpid(), 9)", "is gone: ended by signal 9"),
    ("python", "silent"): ("time.sleep(60)", "did not end within"),
    ("python", "late"): ("await asyncio.sleep(2.2)", "did not end within"),
    ("python", "garbage"): ("raw(b'\\0\\xff garbage\\n')", "no answer"),
    ("python", "half"): ("raw(b'{\"id\":'); os._exit(0)", "its worker process is gone"),
    ("python", "oversize"): (f"raw(b'x' * {BIG})", "too long"),
    ("python", "large-answer"): ("return {'text': 'x' * 100_000}", "too much"),
    ("python", "no-verdict"): ("return {'verdikt': 1}", "not a verdict"),
    ("python", "no-json"): ("return {1, 2}", ""),
    ("python", "wrong-id"): (f"raw({NO_SUCH})", "answered a call that there is not"),
    ("python", "raises"): ("raise SystemExit(2)", ""),
    ("python", "recursion"): ("return (lambda f: f(f))(lambda f: f(f))", "RecursionError"),
    ("python", "floods-stderr"): (
        f"os.write(2, b'x' * {BIG}); time.sleep(60)", "did not end within"
    ),
}  # fmt: skip
SAME_AS_WORKER = ("dies", "is-killed", "garbage", "wrong-id", "late", "floods-stderr")
# What both have in common is tried with one of them in the short form.
ONLY_FULL = [("python", what) for what in SAME_AS_WORKER]
TRIED = [each for each in PROGRAMS if IS_FULL or each not in ONLY_FULL]
SOURCES = {
    "worker": f"""#!{sys.executable}
import json, os, sys, time
def raw(octets):
    sys.stdout.buffer.write(octets)
    sys.stdout.buffer.flush()
while line := sys.stdin.buffer.readline():
    call = json.loads(line)
    sys.stdin.buffer.read(call["size"])
    number = call["id"]
    if call["context"]["reverse_path"] == "evil@r.test":
        ACT
    else:
        raw({LINE})
""",
    "python": """
import asyncio, os, stat, sys, time
def raw(octets):
    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, octets)
        except OSError:
            pass
async def rcpt(context):
    if context.reverse_path == "evil@r.test":
        ACT
""",
}
TOML = """
[server]
workers = 1
[[hook]]
stage = "rcpt"
form = "{form}"
name = "peer"
target = "hook.py"
timeout = "{timeout}"
processes = 1
"""


async def ask(caller: Caller, sender: str = "evil@r.test") -> tuple[object, str]:
    """The refusal, or None, and the reason that is recorded."""
    context = RcptContext(
        client=Client("192.0.2.7", 25, "c"), listener="SMTP",
        reverse_path=sender, forward_path="b@d.test",
    )  # fmt: skip
    outcome = await StageHooks(caller).ask(context)
    return outcome.refusal, outcome.records[0].reason


def write(site: Site, form: str, act: str) -> None:
    """The program; what it does about a call of `evil`."""
    program = site.path / "hook.py"
    program.write_text(SOURCES[form].replace("ACT", act))
    program.chmod(0o755)


async def until_served(caller: Caller) -> None:
    """A start takes its time on a busy machine, and whoever ends at once has one a second."""
    async with asyncio.timeout(30):
        while (await ask(caller, "good@r.test"))[0] is not None:
            pass


@pytest.mark.parametrize(("form", "what"), TRIED)
async def test_a_hostile_program(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture, form: str, what: str
) -> None:
    act, reason = PROGRAMS[form, what]
    site = make_site(TOML.format(form=form, timeout="1500ms" if form == "python" else "1s"))
    write(site, form, act)
    caller = Caller(site.config, site.sockets)
    await until_served(caller)
    async with met(caplog) as said:
        said.extend(await ask(caller))
    assert said[0] == TEMPFAIL
    assert reason in str(said[1])
    await until_served(caller)
    (launcher,) = children(site.pid)
    wait_for(lambda: len(children(launcher)) == 1, what="the end of the process that misbehaved")


class Pouring(Peer):
    """Says its answer piece by piece, and keeps no more of it than a piece."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            await asyncio.sleep(self.delay_s)
            for start in range(0, len(self.answer), PIECE):
                writer.write(self.answer[start : start + PIECE])
                await writer.drain()
            if self.ends:
                writer.close()
                await writer.wait_closed()
                break


@pytest.mark.parametrize("form", SOURCES)
async def test_a_program_that_only_fails_is_paused_and_means_what_on_error_says(
    make_site: MakeSite, form: str
) -> None:
    more = 'on_error = "accept"\n'
    site = make_site(TOML.format(form=form, timeout="30s") + more)
    write(site, form, "os._exit(3)")
    site.set(breaker_failures=2)
    caller = Caller(site.config, site.sockets)
    reasons = []
    for _ in range(3):
        refusal, reason = await ask(caller)
        assert refusal is None
        reasons.append(reason)
    assert "exit status 3" in reasons[1]
    assert "paused" in reasons[2]


@pytest.mark.parametrize("form", SOURCES if IS_FULL else ["python"])
async def test_a_program_that_leaks_is_replaced_and_no_call_fails(
    make_site: MakeSite, form: str
) -> None:
    """Ten calls leak 20 MiB each, which no process may have."""
    more = 'recycle_above = "64MiB"\nmemory_limit = "512MiB"\n'
    site = make_site(TOML.format(form=form, timeout="30s") + more)
    leak = "sys.kept = [*getattr(sys, 'kept', ()), b'x' * (20 << 20)]"
    answer = f"; raw({LINE})" if form == "worker" else "; time.sleep(0.7)"
    write(site, form, leak + ("; time.sleep(0.7)" + answer if form == "worker" else answer))
    caller = Caller(site.config, site.sockets)
    processes: set[int] = set()
    for _ in range(8):
        assert await ask(caller) == (None, "")
        (launcher,) = children(site.pid)
        processes |= set(children(launcher))
    assert len(processes) > 1
    assert all(rss(pid) < (64 + 60) << 20 for pid in processes)


def rss(pid: int) -> int:
    """Octets of memory that a process uses; 0: it is gone."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


@pytest.mark.parametrize(("form", "what"), [*SERVICES, *SILENT])
async def test_a_hostile_service(
    tmp_path: Path, sockets: PoolSockets, caplog: pytest.LogCaptureFixture, form: str, what: str
) -> None:
    answer, reason = SERVICES.get((form, what), (GOOD[form], "no answer within 0.4 s"))
    peer = Pouring(answer, ends=what not in {"silent", "late"})
    peer.delay_s = {"silent": 60.0, "late": 0.8}.get(what, 0.0)
    async with serving(tmp_path, form, peer, sockets) as asker:
        async with met(caplog) as said:
            said.extend(await asker.ask())
        assert said[0] == TEMPFAIL
        assert reason in str(said[1])
        peer.answer, peer.delay_s, peer.ends = GOOD[form], 0.0, True
        assert await asker.ask() == (None, "")


@pytest.mark.parametrize("form", ["http", "policy"])
async def test_a_second_answer_is_nobodys(tmp_path: Path, sockets: PoolSockets, form: str) -> None:
    """It is not taken for the answer of the next call on the connection."""
    refusals = {
        "http": b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"verdict":"reject"}',
        "policy": b"action=reject\n\n",
    }
    peer = Peer(GOOD[form] + refusals[form], ends=False)
    async with serving(tmp_path, form, peer, sockets) as asker:
        for _ in range(3):
            refusal, _ = await asker.ask()
            assert refusal in {None, TEMPFAIL}


@pytest.fixture
def sockets() -> Iterator[PoolSockets]:
    made = PoolSockets.make()
    yield made
    made.close()


@asynccontextmanager
async def met(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[object]]:
    """What must hold while a call meets a hostile hook, and after it."""
    descriptors, memory = descriptors_now(), resident()
    began = time.monotonic()
    ticker = asyncio.create_task(longest_pause())
    await asyncio.sleep(0)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="relevo.hooks"):
        said: list[object] = []
        yield said
    assert time.monotonic() - began < LONGEST_S
    assert any("peer: " in each.getMessage() for each in caplog.records), "it is in the log"
    ticker.cancel()
    with suppress(asyncio.CancelledError):
        await ticker
    assert descriptors_now() <= descriptors + 3, "a process or peer come anew"
    assert resident() - memory < GROWTH


async def longest_pause() -> None:
    """Fails the test when the loop was held."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.005)
        assert time.monotonic() - before < MOST_HELD_S


def resident() -> int:
    """Octets of memory that this process uses."""
    return rss(os.getpid())


def descriptors_now() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
