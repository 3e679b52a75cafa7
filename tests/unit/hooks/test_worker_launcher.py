"""Hooks of the form worker through a real host: one process, many calls, and every way to fail."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from harness.processes import children
from harness.waiting import wait_for
from relevo.hooks.caller import Caller
from relevo.hooks.contract import Accept, Client, PostDataContext, Refuse
from relevo.hooks.contract.contexts import MailContext
from relevo.hooks.post_data import HookMessage, PostDataHooks
from relevo.hooks.stages import StageHooks, StageOutcome
from unit.hooks.conftest import MakeSite, Site

TOML = """
[server]
workers = 1
[[hook]]
stage = "mail"
form = "worker"
target = "hooks/worker"
timeout = "1500ms"
processes = {processes}
max_concurrent = 8
recycle_above = {recycle_above}
[[hook]]
stage = "post-data"
form = "worker"
target = "hooks/worker"
timeout = "10s"
processes = 1
"""
LOOP = """\
import json, os, sys, threading, time
def answer(number, **verdict):
    sys.stdout.write(json.dumps({{"id": number, "answer": verdict}}) + "\\n")
    sys.stdout.flush()
while line := sys.stdin.buffer.readline():
    call = json.loads(line)
    message = sys.stdin.buffer.read(call["size"])
    number, context = call["id"], call["context"]
    sender = context["reverse_path"].partition("@")[0]
    {act}
"""
PID = "answer(number, tags=[str(os.getpid())])"


def write(site: Site, act: str = PID) -> None:
    script = site.path / "worker.py"
    script.write_text(LOOP.format(act=act.replace("\n", "\n    ")))
    site.write("worker", f"exec {sys.executable} {script}")


def make(make_site: MakeSite, act: str = PID, *, processes: int = 1, recycle: int = 0) -> Site:
    site = make_site(TOML.format(processes=processes, recycle_above=recycle))
    write(site, act)
    return site


def stage_hooks(site: Site) -> StageHooks:
    return StageHooks(Caller(site.config, site.sockets))


async def ask(hooks: StageHooks, sender: str = "a") -> StageOutcome:
    return await hooks.ask(
        MailContext(
            client=Client("192.0.2.7", 25, "c"), listener="SMTP", reverse_path=f"{sender}@r.test"
        )
    )


def pid_of(outcome: StageOutcome) -> int:
    assert outcome.refusal is None, outcome
    return int(outcome.changes.tags[0])


def reason_of(outcome: StageOutcome) -> str:
    assert outcome.refusal == Refuse(451, "4.7.1", "Temporary policy failure, try again later")
    return outcome.records[0].reason


async def test_one_process_answers_call_after_call(make_site: MakeSite) -> None:
    hooks = stage_hooks(make(make_site))
    assert len({pid_of(await ask(hooks)) for _ in range(20)}) == 1


@pytest.mark.alone
async def test_calls_are_in_flight_together_and_answered_in_any_order(
    make_site: MakeSite,
) -> None:
    act = (
        "delay = 0.6 if sender == 'slow' else 0.0\n"
        "threading.Timer(delay, answer, (number,), {'tags': [sender]}).start()"
    )
    hooks = stage_hooks(make(make_site, act))
    await ask(hooks, "first")
    began = time.monotonic()
    slow = asyncio.gather(*(ask(hooks, "slow") for _ in range(4)))
    quick = await ask(hooks, "quick")
    assert quick.changes.tags == ("quick",)
    assert not slow.done()
    assert [outcome.changes.tags for outcome in await slow] == [("slow",)] * 4
    assert time.monotonic() - began < 1.8, "four calls of 0.6 s ran one after the other"


async def test_work_is_shared_by_the_processes(make_site: MakeSite) -> None:
    hooks = stage_hooks(make(make_site, f"time.sleep(0.2)\n{PID}", processes=2))
    await ask(hooks)
    async with asyncio.timeout(20):
        while True:
            outcomes = await asyncio.gather(*(ask(hooks) for _ in range(6)))
            if len({pid_of(outcome) for outcome in outcomes}) == 2:
                break


@pytest.mark.parametrize("octets", [10, 300_000, 3_000_000])
async def test_the_message_follows_its_line_in_full(make_site: MakeSite, octets: int) -> None:
    act = 'answer(number, tags=[str(len(message)), message[-4:].decode("ascii").strip()])'
    site = make(make_site, act)
    hooks = PostDataHooks(Caller(site.config, site.sockets))
    context = PostDataContext(
        message_id="id1",
        client=Client("192.0.2.7", 25, "c"),
        reverse_path="a@r.test",
        forward_paths=("user@d1.test",),
    )
    start = b"A: b\r\n\r\n" + b"x" * octets + b"end\r\n"
    outcome = await hooks.ask(hooks.find(), context, HookMessage(start), raw_hello="c")
    assert isinstance(outcome.verdict, Accept), outcome.records
    assert outcome.verdict.changes.tags == (str(len(start) - 3), "end")


async def test_a_process_that_dies_fails_its_call_and_another_takes_the_next(
    make_site: MakeSite,
) -> None:
    act = f"if sender == 'bad': print('bye', file=sys.stderr); os._exit(3)\n{PID}"
    hooks = stage_hooks(make(make_site, act))
    first = pid_of(await ask(hooks))
    outcome = await ask(hooks, "bad")
    assert reason_of(outcome).startswith("its worker process is gone: exit status 3")
    assert outcome.records[0].stderr == "bye"
    assert pid_of(await ask(hooks)) != first


@pytest.mark.alone
async def test_a_deadline_costs_the_call_and_the_process_but_no_other_call(
    make_site: MakeSite,
) -> None:
    act = (
        "if sender == 'late': threading.Timer(1.2, answer, (number,), {'tags': ['late']}).start()\n"
        "elif sender != 'never': answer(number, tags=[str(os.getpid())])"
    )
    hooks = stage_hooks(make(make_site, act))
    first = pid_of(await ask(hooks))
    never = asyncio.ensure_future(ask(hooks, "never"))
    await asyncio.sleep(0.6)
    late = asyncio.ensure_future(ask(hooks, "late"))
    assert "did not end within" in reason_of(await never)
    assert pid_of(await ask(hooks)) != first, "the process that missed a deadline got a call"
    assert (await late).changes.tags == ("late",), "it may finish what it had"
    wait_for(lambda: not Path(f"/proc/{first}").exists(), what="the end of the old process")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        pytest.param("print('hello', flush=True)", "no answer", id="garbage"),
        pytest.param("answer(number + 99)", "answered a call that there is not", id="wrong-call"),
        pytest.param("answer(number, text='x' * 70000)", "too much", id="large"),
        pytest.param(
            "[sys.stdout.write('x' * 65536) for _ in range(100)]; sys.stdout.flush()",
            "too long", id="endless-line",
        ),
        pytest.param("answer(number, verdikt='reject')", "not a verdict", id="no-verdict"),
        pytest.param("sys.stdout.close(); os.close(1); time.sleep(60)", "killed", id="closes"),
    ],
)  # fmt: skip
async def test_an_answer_that_breaks_the_rules_is_a_failure(
    make_site: MakeSite, act: str, reason: str
) -> None:
    hooks = stage_hooks(make(make_site, act))
    assert reason in reason_of(await ask(hooks))


async def test_a_program_that_keeps_ending_at_once_is_started_once_a_second(
    make_site: MakeSite,
) -> None:
    site = make(make_site)
    count = site.path / "count"
    site.write("worker", f"echo x >> {count}; exit 1")
    hooks = stage_hooks(site)
    began = time.monotonic()
    reasons = [reason_of(await ask(hooks)) for _ in range(4)]
    assert {reason.partition(";")[0] for reason in reasons} == {
        "its worker process is gone: exit status 1"
    }
    assert count.read_text().count("x") == 4
    assert time.monotonic() - began > 1.9, "after the second end each start waits for a second"


async def test_a_process_that_has_grown_is_replaced(make_site: MakeSite) -> None:
    hooks = stage_hooks(make(make_site, recycle=1024 * 1024))
    pids: set[int] = set()
    async with asyncio.timeout(10):
        while len(pids) < 2:
            pids.add(pid_of(await ask(hooks)))


async def test_an_edited_program_is_started_anew_and_the_old_one_ends(
    make_site: MakeSite,
) -> None:
    site = make(make_site)
    hooks = stage_hooks(site)
    first = pid_of(await ask(hooks))
    write(site, "answer(number, tags=['new'])")
    assert (await ask(hooks)).changes.tags == ("new",)
    wait_for(lambda: not Path(f"/proc/{first}").exists(), what="the end of the old process")


async def test_a_flood_of_processes_ends_the_worker(make_site: MakeSite) -> None:
    act = "import subprocess\nfor _ in range(40): subprocess.Popen(['sleep', '60'])\ntime.sleep(60)"
    site = make(make_site, act)
    site.set(max_processes=10)
    hooks = stage_hooks(site)
    assert "too many processes" in reason_of(await ask(hooks))
    wait_for(lambda: site.strays() == [], what="the end of all of them")


async def test_a_missing_program_cannot_be_started(make_site: MakeSite) -> None:
    site = make(make_site)
    (site.path / "hooks" / "worker").unlink()
    assert "cannot be started" in reason_of(await ask(stage_hooks(site)))


async def test_a_launcher_whose_process_is_gone_waits_without_work(make_site: MakeSite) -> None:
    site = make(make_site)
    site.write("worker", "exit 1")
    hooks = stage_hooks(site)
    for _ in range(2):
        reason_of(await ask(hooks))
    await asyncio.sleep(1.1)  # the second in which no other is started
    before = processor_time(site.pid)
    await asyncio.sleep(0.5)
    assert processor_time(site.pid) - before < 0.2


def processor_time(host: int) -> float:
    """Seconds that the host's launchers have computed."""
    ticks = 0
    for pid in children(host):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def test_a_new_configuration_finishes_calls_and_takes_other_processes(
    make_site: MakeSite,
) -> None:
    act = f"time.sleep(0.3 if sender == 'slow' else 0)\n{PID}"
    site = make(make_site, act)
    caller = Caller(site.config, site.sockets)
    hooks = StageHooks(caller)
    first = pid_of(await ask(hooks))
    slow = asyncio.ensure_future(ask(hooks, "slow"))
    await asyncio.sleep(0.05)
    caller.reconfigure(site.config)
    assert pid_of(await ask(hooks)) != first
    assert pid_of(await slow) == first, "the call that it had is answered"
    wait_for(lambda: not Path(f"/proc/{first}").exists(), what="the end of the old process")


async def test_a_process_that_ignores_its_end_is_killed_when_nobody_needs_it(
    make_site: MakeSite,
) -> None:
    site = make(make_site, PID)
    script = site.path / "worker.py"
    script.write_text(f"{script.read_text()}\nos.system('sleep 60')\n")
    caller = Caller(site.config, site.sockets)
    await ask(StageHooks(caller))
    caller.close()
    wait_for(lambda: site.strays() == [], timeout_s=15, what="its end, and its child's")


async def test_a_call_whose_caller_has_gone_leaves_the_others_alone(make_site: MakeSite) -> None:
    act = f"time.sleep(0.3 if sender == 'slow' else 0)\n{PID}"
    hooks = stage_hooks(make(make_site, act))
    first = pid_of(await ask(hooks))
    slow = asyncio.ensure_future(ask(hooks, "slow"))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert pid_of(await ask(hooks)) == first, "its late answer is nobody's, and no fault"


async def test_calls_beyond_all_places_wait_for_one(make_site: MakeSite) -> None:
    hooks = stage_hooks(make(make_site, f"time.sleep(0.01)\n{PID}"))
    outcomes = await asyncio.gather(*(ask(hooks) for _ in range(40)))  # of eight places
    assert len({pid_of(outcome) for outcome in outcomes}) == 1
