"""Calls through a real host: what a program gets, how its end is reported, what is left of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.waiting import wait_for
from relevo.hooks.calls import HookPool
from relevo.hooks.host import encode_settings
from relevo.hooks.input_file import INLINE_LIMIT, disk_file
from relevo.hooks.settings import POST_DATA_POOL, pool_settings
from relevo.hooks.wire import MAX_STDERR, How, Report
from unit.hooks.conftest import MakeSite, Site

LIMIT = 64 * 1024


@pytest.fixture(autouse=True, params=["compiled", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything here holds with the compiled part of launchers, and without it."""
    if request.param == "python":
        monkeypatch.setenv("RELEVO_COMPILED", "no")
    return str(request.param)


def pool(site: Site, *, slot_timeout_s: float = 5.0, index: int = POST_DATA_POOL) -> HookPool:
    settings = pool_settings(site.config)[index]
    return HookPool(site.sockets.workers[index], settings.identity, slot_timeout_s=slot_timeout_s)


async def call(
    site: Site,
    path: Path | str,
    *arguments: str,
    stdin: bytes = b"input",
    timeout_s: float = 10.0,
    max_processes: int = 64,
    through: HookPool | None = None,
    variables: dict[str, str] | None = None,
) -> Report:
    return await (through or pool(site)).call(
        (str(path), *arguments),
        {"PATH": os.environ["PATH"], **(variables or {})},
        [stdin],
        timeout_s=timeout_s,
        max_output=LIMIT,
        max_processes=max_processes,
    )


async def test_output_errors_and_status(site: Site) -> None:
    path = site.write("a", 'cat; echo "$1"; echo bad >&2; exit 7')
    report = await call(site, path, "argument", stdin=b"text\n")
    assert (report.how, report.status) == (How.EXITED, 7)
    assert report.output == b"text\nargument\n"
    assert report.errors == b"bad\n"
    assert 0 < report.seconds < 5


async def test_launchers_have_the_compiled_part(site: Site, way: str) -> None:
    report = await call(site, site.write("a", "grep -c libhooks.so /proc/$PPID/maps"))
    assert (int(report.output) > 0) is (way == "compiled")


async def test_environment_is_what_was_given(site: Site) -> None:
    path = site.path / "hooks" / "raw"
    path.write_text("#!/bin/cat /proc/self/environ\n")
    path.chmod(0o755)
    report = await call(site, path, variables={"A": "b=c", "E": "", "RAW": "\udcff"})
    found = dict(item.split(b"=", 1) for item in report.output.split(b"\0") if b"=" in item)
    assert {name: found[name] for name in (b"A", b"E", b"RAW")} == {
        b"A": b"b=c", b"E": b"", b"RAW": b"\xff"
    }  # fmt: skip
    assert set(found) == {b"PATH", b"A", b"E", b"RAW"}


async def test_no_descriptor_is_inherited(site: Site) -> None:
    report = await call(site, site.write("a", "ls -l /proc/self/fd | grep -c -e '->'"))
    assert int(report.output) == 4  # stdin, stdout, stderr, and the folder that ls reads


async def test_own_group_without_a_terminal_and_working_directory(site: Site) -> None:
    report = await call(
        site, site.write("a", "readlink /proc/$$/cwd; cut -d' ' -f1,5,6,7 /proc/$$/stat")
    )
    directory, numbers = report.output.decode().splitlines()
    assert directory == str(site.path)
    process, group, session, terminal = map(int, numbers.split())
    assert process == group
    assert session not in {process, os.getsid(0)}  # that of all hooks
    assert terminal == 0


async def test_the_server_goes_first(site: Site) -> None:
    report = await call(site, site.write("a", "sleep 0.02; nice; chrt -p $$ | head -1"))
    nice, policy = report.output.decode().splitlines()
    assert int(nice) > os.nice(0)
    assert policy.endswith("SCHED_BATCH")  # though its launcher is urgent by then


async def test_signals_are_as_at_a_login(site: Site) -> None:
    report = await call(site, site.write("a", "grep -E '^Sig(Ign|Blk)' /proc/self/status"))
    blocked, ignored = (int(line.split()[1], 16) for line in report.output.decode().splitlines())
    assert blocked & 0x7FFFFFFF == ignored & 0x7FFFFFFF == 0  # real-time signals are libc's


async def test_stdin_cannot_be_written(site: Site) -> None:
    report = await call(site, site.write("a", "echo x >&0 2>/dev/null || echo refused"))
    assert report.output == b"refused\n"


@pytest.mark.parametrize("size", [0, 1, INLINE_LIMIT, INLINE_LIMIT + 1, 300_000])
async def test_input_of_any_size_is_whole_and_sealed(site: Site, size: int) -> None:
    path = site.write("a", "wc -c; echo x 2>/dev/null >>/proc/$$/fd/0 || echo refused")
    report = await call(site, path, stdin=b"x" * size)
    lines = report.output.decode().split()
    assert lines[0] == str(size)
    if size:  # else it is /dev/null
        assert lines[1:] == ["refused"]


async def test_large_input_is_an_unlinked_file(site: Site) -> None:
    descriptor = disk_file([b"x" * 1024] * 2048)
    try:
        report = await pool(site).call(
            (str(site.write("a", "wc -c; readlink /proc/$$/fd/0")),),
            {"PATH": os.environ["PATH"]},
            [descriptor],
            timeout_s=10,
            max_output=LIMIT,
            max_processes=64,
        )
    finally:
        os.close(descriptor)
    size, name = report.output.decode().splitlines()
    assert int(size) == 2048 * 1024
    assert name.endswith("(deleted)")


@pytest.mark.parametrize(
    ("text", "how"),
    [
        pytest.param("kill -9 $$", How.SIGNALLED, id="signal"),
        pytest.param("sleep 600", How.TIMED_OUT, id="deadline"),
        pytest.param("trap '' TERM; sleep 600 & wait", How.TIMED_OUT, id="ignores-term"),
        pytest.param("yes", How.TOO_MUCH_OUTPUT, id="flood"),
        pytest.param("yes >&2", How.TOO_MUCH_OUTPUT, id="flood-of-errors"),
        pytest.param(
            "for i in $(seq 99); do sleep 600 & done; wait", How.TOO_MANY_PROCESSES, id="processes"
        ),
    ],
)
async def test_bad_end_leaves_nothing(site: Site, text: str, how: How) -> None:
    report = await call(site, site.write("a", text), timeout_s=1.0)
    assert report.how is how
    assert report.describe()
    wait_for(lambda: not site.strays(), timeout_s=2, what="the end of its processes")


@pytest.mark.parametrize(
    "text",
    ["(sleep 600) & exit 0", "setsid sleep 600 & exit 0", "setsid setsid sleep 600 & exit 0"],
)
async def test_what_is_left_behind_is_neither_waited_for_nor_left(site: Site, text: str) -> None:
    start = time.monotonic()
    report = await call(site, site.write("a", text), timeout_s=30)
    assert report.how is How.EXITED
    assert time.monotonic() - start < 5
    wait_for(lambda: not site.strays(), timeout_s=2, what="the end of its processes")


async def test_output_so_far_is_kept_at_the_deadline(site: Site) -> None:
    report = await call(site, site.write("a", "echo so far; exec sleep 600"), timeout_s=0.5)
    assert (report.how, report.output) == (How.TIMED_OUT, b"so far\n")


async def test_output_up_to_the_limit_is_whole(site: Site) -> None:
    report = await call(site, site.write("a", f"head -c {LIMIT} /dev/zero"))
    assert (report.how, len(report.output)) == (How.EXITED, LIMIT)
    report = await call(site, site.write("a", f"head -c {LIMIT + 1} /dev/zero"))
    assert report.how is How.TOO_MUCH_OUTPUT


async def test_errors_are_cut(site: Site) -> None:
    report = await call(site, site.write("a", "head -c 100000 /dev/zero >&2"))
    assert (report.how, len(report.errors)) == (How.EXITED, MAX_STDERR)


@pytest.mark.parametrize(
    ("mode", "text", "detail"),
    [
        pytest.param(0o644, "#!/bin/sh\n", "Permission denied", id="no-run-bit"),
        pytest.param(0o755, "exit 0\n", "Exec format error", id="no-interpreter-line"),
        pytest.param(0o755, "#!/no/such\n", "No such file or directory", id="no-interpreter"),
    ],
)
async def test_what_cannot_be_started_is_said(
    site: Site, mode: int, text: str, detail: str
) -> None:
    path = site.path / "hooks" / "a"
    path.write_text(text)
    path.chmod(mode)
    report = await call(site, path)
    assert (report.how, report.detail) == (How.NOT_STARTED, detail)


async def test_arguments_that_are_too_long(site: Site) -> None:
    report = await call(site, site.write("a", "exit 0"), "x" * 300_000)
    assert report.how is How.NOT_STARTED


async def test_the_cap_holds_and_the_wait_is_bounded(make_site: MakeSite) -> None:
    site = make_site("[hooks]\nmax_concurrent = 2\n")
    path = site.write("a", f"echo x >> {site.path}/count; sleep 2")
    shared = pool(site, slot_timeout_s=0.3)
    await call(site, "/bin/true", through=pool(site))
    start = time.monotonic()
    reports = await asyncio.gather(*(call(site, path, through=shared) for _ in range(6)))
    hows = sorted(report.how.value for report in reports)
    assert hows == ["busy"] * 4 + ["exited"] * 2
    assert (site.path / "count").read_text() == "x\n" * 2
    assert time.monotonic() - start < 4


async def test_calls_wait_in_line_for_a_place(make_site: MakeSite) -> None:
    site = make_site("[hooks]\nmax_concurrent = 2\n")
    path = site.write("a", "sleep 0.05")
    reports = await asyncio.gather(*(call(site, path) for _ in range(20)))
    assert {report.how for report in reports} == {How.EXITED}


async def test_a_caller_that_goes_away_ends_the_hook(site: Site) -> None:
    task = asyncio.ensure_future(call(site, site.write("a", "sleep 600"), timeout_s=600))
    await asyncio.to_thread(wait_for, site.strays, what="the start of the hook")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_for(lambda: not site.strays(), timeout_s=3, what="the end of the hook")


async def test_a_hook_that_kills_its_launcher_fails_alone(site: Site) -> None:
    report = await call(site, site.write("a", "kill -9 $PPID; sleep 600"))
    assert report.how is How.BROKEN
    wait_for(lambda: not site.strays(), timeout_s=3, what="the end of the hook")
    assert (await call(site, site.write("b", "exit 3"))).status == 3


async def test_settings_of_another_identity_are_refused(site: Site) -> None:
    index = POST_DATA_POOL
    stranger = HookPool(site.sockets.workers[index], "0 somebody", slot_timeout_s=5.0)
    report = await call(site, site.write("a", "exit 0"), through=stranger)
    assert report.how is How.BROKEN


@pytest.mark.parametrize(
    ("setting", "text", "status"),
    [
        pytest.param("cpu_limit = '1s'", "while :; do :; done", signal.SIGKILL, id="cpu"),
        pytest.param("file_size_limit = '1KiB'", "yes > {path}/big", 0, id="file-size"),
    ],
)
async def test_limits(make_site: MakeSite, setting: str, text: str, status: int) -> None:
    site = make_site(f"[hooks]\n{setting}\n")
    report = await call(site, site.write("a", text.format(path=site.path)), timeout_s=8)
    assert report.how in {How.SIGNALLED, How.EXITED}
    assert report.status
    if status:
        assert report.status == status
    big = site.path / "big"
    assert not big.exists() or big.stat().st_size <= 1024


async def test_limits_of_memory_and_descriptors(make_site: MakeSite) -> None:
    site = make_site("[hooks]\nmemory_limit = '100MiB'\nopen_files = 77\n")
    report = await call(site, site.write("a", "ulimit -n; ulimit -d; ulimit -c"))
    assert report.output.split() == [b"77", b"102400", b"0"]


async def test_another_configuration_makes_new_launchers(site: Site) -> None:
    path = site.write("a", "ulimit -n")
    assert (await call(site, path)).output == b"1024\n"
    config = site.set(open_files=99)
    site.control.sendall(encode_settings(pool_settings(config)) + b"\n")
    deadline = time.monotonic() + 5
    while (await call(site, path)).output != b"99\n":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def many(site: Site, texts: Sequence[str]) -> list[Report]:
    paths = [site.write(f"hook{number}", text) for number, text in enumerate(texts)]
    return list(await asyncio.gather(*(call(site, path) for path in paths)))


async def test_reports_go_to_whom_they_belong(site: Site) -> None:
    reports = await many(site, [f"echo {number}" for number in range(30)])
    assert [int(report.output) for report in reports] == list(range(30))
