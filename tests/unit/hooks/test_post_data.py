"""The stage post-data over real programs: order, changes, failures and what is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.config import load
from relevo.hooks.caller import Caller
from relevo.hooks.contract import Accept, Changes, Client, PostDataContext, Refuse, Stage
from relevo.hooks.post_data import HookMessage, PostDataHooks, PostDataOutcome, changed_start
from relevo.hooks.programs import BELIEVED_FOR_S, Programs
from relevo.hooks.statistics import HookOutcome, HookStatistics
from unit.hooks.conftest import MakeSite, Site

MESSAGE = HookMessage(b"Received: us\r\nSubject: s\r\nX-B: 1\r\n\r\nbody\r\n")
CONTEXT = PostDataContext(
    message_id="id1",
    client=Client("192.0.2.7", 4711, "cli"),
    reverse_path="a@r.test",
    forward_paths=("user@d1.test",),
    size=MESSAGE.size,
)
V2 = """
[[hook]]
name = "judge"
target = "judge"
arguments = ["one", "two"]
timeout = "2s"
"""


async def ask(site: Site, message: HookMessage = MESSAGE) -> PostDataOutcome:
    hooks = PostDataHooks(Caller(site.config, site.sockets))
    return await hooks.ask(hooks.find(), CONTEXT, message, raw_hello="cli")


def write_judge(site: Site, text: str) -> None:
    path = site.path / "judge"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


async def test_no_hooks_change_nothing(site: Site) -> None:
    outcome = await ask(site)
    assert outcome == PostDataOutcome(Accept(), MESSAGE.start, ())


async def test_stdin_is_lf_and_each_hook_sees_what_the_ones_before_left(site: Site) -> None:
    site.write("post-data", f"cat > {site.path}/first; echo 'X-1: a'")
    site.write("post-data.d/10-second", f"cat > {site.path}/second; echo 'X-2: b'")
    outcome = await ask(site)
    first, second = ((site.path / name).read_bytes() for name in ("first", "second"))
    assert first == MESSAGE.start.replace(b"\r\n", b"\n")
    assert second == b"X-1: a\n" + first
    assert outcome.start == b"X-2: b\r\nX-1: a\r\n" + MESSAGE.start
    assert [record.hook for record in outcome.records] == [
        "hooks/post-data", "hooks/post-data.d/10-second"
    ]  # fmt: skip
    assert [record.change for record in outcome.records] == ["adds X-1", "adds X-2"]


async def test_the_first_refusal_ends_it(site: Site) -> None:
    site.write("post-data.d/1", "echo no; echo why >&2; exit 20")
    site.write("post-data.d/2", f"touch {site.path}/called")
    outcome = await ask(site)
    assert outcome.verdict == Refuse(554, "5.7.1", "no")
    assert not (site.path / "called").exists()
    (record,) = outcome.records
    assert (record.verdict, record.reason, record.stderr) == ("reject", "554 5.7.1 no", "why")
    assert len(record.version) == 12
    assert record.message_id == "id1"
    assert record.seconds > 0


async def test_bad_output_is_recorded_and_left_out(site: Site) -> None:
    site.write("post-data", "echo hello")
    outcome = await ask(site)
    assert outcome.verdict == Accept()
    assert outcome.start == MESSAGE.start
    assert outcome.records[0].reason.startswith("output ignored: ")


@pytest.mark.parametrize(
    ("on_error", "verdict"),
    [
        ("tempfail", Refuse(451, "4.7.1", "so far")),
        ("accept", Accept()),
        ("reject", Refuse(554, "5.7.1", "Message rejected by policy")),
    ],
)
async def test_on_error_says_what_a_failure_means(
    site: Site, on_error: str, verdict: object
) -> None:
    site.set(on_error=on_error)
    site.write("post-data", "echo so far; kill -9 $$")
    outcome = await ask(site)
    assert outcome.verdict == verdict
    assert "ended by signal 9" in outcome.records[0].reason


async def test_spooled_message_is_handed_over_whole(site: Site) -> None:
    site.write("post-data", "wc -c >&2")
    body = [b"x" * 998 + b"\r\n"] * 3000

    def rest() -> Iterator[bytes]:
        yield from body

    message = HookMessage(b"A: b\r\n\r\n", rest, rest_size=3_000_000)
    outcome = await ask(site, message)
    assert int(outcome.records[0].stderr) == 6 + 3000 * 999


async def test_contract_v2(make_site: MakeSite) -> None:
    site = make_site(V2)
    answer = {
        "add_headers": [{"name": "X-New", "value": "1"}],
        "remove_headers": ["x-b"],
        "replace_headers": [{"name": "Subject", "value": "t"}],
        "add_recipients": ["b@d1.test"],
        "remove_recipients": ["user@d1.test"],
        "sender": "c@d1.test",
        "tags": ["seen"],
    }
    write_judge(
        site,
        f'cat <&3 > {site.path}/context; cat > {site.path}/stdin; echo "$@"\n'
        f"cat >&4 <<'END'\n{json.dumps(answer)}\nEND\n",
    )
    outcome = await ask(site)
    assert outcome.start == (b"X-New: 1\r\nReceived: us\r\nSubject: t\r\n\r\nbody\r\n")
    assert isinstance(outcome.verdict, Accept)
    changes = outcome.verdict.changes
    assert changes.add_recipients == ("b@d1.test",)
    assert changes.remove_recipients == ("user@d1.test",)
    assert changes.reverse_path == "c@d1.test"
    assert changes.tags == ("seen",)
    context = json.loads((site.path / "context").read_text())
    assert context["message_id"] == "id1"
    assert context["forward_paths"] == ["user@d1.test"]
    assert (site.path / "stdin").read_bytes().startswith(b"Received: us\nSubject: s\n")
    assert outcome.records[0].hook == "judge"
    assert outcome.records[0].stderr == "one two"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("exit 3", "exit status 3", id="status"),
        pytest.param("echo nonsense >&4", "not a verdict", id="no-json"),
        pytest.param('echo \'{"verdict": "reject"}\' >&4; exit 1', "exit status 1", id="both"),
        pytest.param("sleep 60", "did not end", id="deadline"),
    ],
)
async def test_contract_v2_failure(make_site: MakeSite, text: str, reason: str) -> None:
    site = make_site(V2)
    write_judge(site, text)
    outcome = await ask(site)
    assert outcome.verdict == Refuse(451, "4.7.1", "Temporary policy failure, try again later")
    assert reason in outcome.records[0].reason


async def test_declared_hook_that_is_missing_fails(make_site: MakeSite) -> None:
    site = make_site(V2)
    outcome = await ask(site)
    assert isinstance(outcome.verdict, Refuse)
    assert "No such file" in outcome.records[0].reason


async def test_tags_and_sender_reach_the_next_hook(make_site: MakeSite) -> None:
    site = make_site(V2 + V2.replace("judge", "second"))
    write_judge(site, 'echo \'{"tags": ["a"], "sender": ""}\' >&4')
    second = site.path / "second"
    second.write_text(f"#!/bin/sh\ncat <&3 > {site.path}/context\n")
    second.chmod(0o755)
    await ask(site)
    context = json.loads((site.path / "context").read_text())
    assert (context["tags"], context["reverse_path"]) == (["a"], "<>")


async def test_breaker_pauses_a_hook_that_only_crashes(site: Site) -> None:
    site.set(breaker_failures=2)
    site.write("post-data", f"echo x >> {site.path}/count; kill -9 $$")
    hooks = PostDataHooks(Caller(site.config, site.sockets))
    for _ in range(4):
        outcome = await hooks.ask(hooks.find(), CONTEXT, MESSAGE, raw_hello="")
        assert isinstance(outcome.verdict, Refuse)
    assert (site.path / "count").read_text() == "x\n" * 2
    assert "paused" in outcome.records[0].reason
    site.write("post-data", "exit 0")
    outcome = await hooks.ask(hooks.find(), CONTEXT, MESSAGE, raw_hello="")
    assert outcome.verdict == Accept()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("exit 0", HookOutcome.ACCEPTED),
        ("exit 20", HookOutcome.REJECTED),
        ("exit 1", HookOutcome.TEMPFAILED),
        ("echo hello", HookOutcome.BAD_OUTPUT),
        ("kill -9 $$", HookOutcome.FAILED),
    ],
)
async def test_calls_are_counted(site: Site, text: str, outcome: HookOutcome) -> None:
    site.write("post-data", text)
    statistics = HookStatistics(1)
    hooks = PostDataHooks(Caller(site.config, site.sockets, statistics.counter(0)))
    await hooks.ask(hooks.find(), CONTEXT, MESSAGE, raw_hello="")
    (figures,) = statistics.read()
    assert figures.name == "hooks/post-data"
    assert figures.outcomes[outcome] == figures.calls == 1


async def test_writable_by_others_is_refused_or_let_pass(site: Site) -> None:
    site.write("post-data", "exit 0", mode=0o757)
    outcome = await ask(site)
    assert isinstance(outcome.verdict, Refuse)
    assert "others may write to it" in outcome.records[0].reason
    site.set(writable_by_others="warn")
    assert (await ask(site)).verdict == Accept()


def test_header_changes_leave_the_body_alone() -> None:
    start = b"A: 1\r\nB: 2\r\nA: 3\r\n\r\nA: body\r\n"
    changes = Changes(add=b"N: 0\r\n", remove=("B",), replace=(("A", b"A: 9\r\n"),))
    assert changed_start(start, changes) == b"N: 0\r\nA: 9\r\n\r\nA: body\r\n"
    assert changed_start(start, replace(changes, replace=(("C", b"C: 7\r\n"),))).startswith(
        b"N: 0\r\nC: 7\r\nA: 1\r\n"
    )


def test_that_there_are_none_is_believed_for_a_moment(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text('hostname = "mx.test"\n')
    now = [100.0]
    programs = Programs(load(tmp_path), clock=lambda: now[0])
    assert programs.of(Stage.POST_DATA) == []
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "post-data").touch()
    assert programs.of(Stage.POST_DATA) == []
    now[0] += BELIEVED_FOR_S
    assert [program.name for program in programs.of(Stage.POST_DATA)] == ["hooks/post-data"]


def test_which_file_a_declared_hook_is_is_believed_for_a_moment(tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text("")
    (tmp_path / "relevo.toml").write_text(
        'hostname = "mx.test"\n[[hook]]\nform = "worker"\nstage = "post-data"\ntarget = "hook.py"\n'
    )
    now = [100.0]
    programs = Programs(load(tmp_path), clock=lambda: now[0])
    (first,) = programs.of(Stage.POST_DATA)
    (tmp_path / "hook.py").write_text("# edited\n")
    assert programs.of(Stage.POST_DATA)[0].file.signature == first.file.signature
    now[0] += BELIEVED_FOR_S
    assert programs.of(Stage.POST_DATA)[0].file.signature != first.file.signature


def test_hooks_in_the_folder_are_looked_at_for_each_call(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text('hostname = "mx.test"\n')
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks" / "post-data"
    hook.touch()
    programs = Programs(load(tmp_path), clock=lambda: 100.0)
    assert len(programs.of(Stage.POST_DATA)) == 1
    hook.unlink()
    assert programs.of(Stage.POST_DATA) == []
