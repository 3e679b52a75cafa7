"""Hooks that misbehave cost their own message at most a 451, and nobody else anything.

For each: the reply, the line in the log, the latency of other sessions, no process left, and
bounded memory. Latency is measured up to three times, because other programs of the machine
disturb as well; all the rest must hold each time.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import relevo
from harness.config_dir import STANDARD_DOMAINS, Setting, relevo_config
from harness.latency import Latency
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for
from system.hooks_hostile.site import MEMORY_SLACK, HookSite

pytestmark = pytest.mark.alone

TRIES = 3
DEADLINE_S = 1.5
SLACK_S = 1.5  # of a busy machine
BOMB = "int fork(void); int main(void) { for (;;) fork(); }\n"
SETTINGS: dict[str, Setting] = {
    "hooks.post_data_timeout": f"{DEADLINE_S}s",
    "hooks.breaker_failures": 0,
    "smtp.max_message_size": "64MiB",
    "delivery.local": "discard",
}
UNPRIVILEGED = "nobody"
ENTRY = "import sys; del sys.argv[0]; from relevo.cli import main; sys.exit(main())"
"""Instead of the script in front of whose path it stands, which others may not be able to read."""


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HookSite]:
    with reaping(request) as reaper:
        factory = RelevoFactory(reaper, tmp_path_factory.mktemp("hostile"))
        yield HookSite(factory(settings=SETTINGS))


@pytest.fixture(scope="module")
def running_without_rights(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HookSite]:
    """A server that was never root: as the user of the tests, or as another one.

    Its folder is none of pytest's, which are closed to other users again and again.
    """
    if os.geteuid() != 0:
        with reaping(request) as reaper:
            factory = RelevoFactory(reaper, tmp_path_factory.mktemp("hostile-unprivileged"))
            yield HookSite(factory(settings=SETTINGS))
        return
    user = pwd.getpwnam(UNPRIVILEGED)
    packages = [Path(relevo.__file__).parents[1], Path(sysconfig.get_path("purelib"))]
    drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    with TemporaryDirectory(prefix="relevo-hostile-") as name, reaping(request) as reaper:
        folder = Path(name)
        folder.chmod(0o755)
        python, env = python_of(user, packages, folder / "packages")
        config = relevo_config(folder / "relevo", domains=STANDARD_DOMAINS, settings=SETTINGS)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
        yield HookSite(
            RelevoServer(reaper, config, env=env).start(wrapper=[*drop, python, "-c", ENTRY])
        )


def python_of(
    user: pwd.struct_passwd, packages: Sequence[Path], copies: Path
) -> tuple[str, Mapping[str, str]]:
    """A Python that this user may run, and the environment in which it finds the packages.

    The tests may stand in a folder of root's; then it gets copies of what they run with.
    """
    for paths in (packages, [copies / str(number) for number in range(len(packages))]):
        if paths is not packages:
            for source, copy in zip(packages, paths, strict=True):
                shutil.copytree(source, copy, symlinks=True)
        env = {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        for python in (sys.executable, "/usr/bin/python3"):
            if may_run(user, python, env):
                return python, env
    pytest.fail(f"{user.pw_name} may run no Python that has what the server needs")


def may_run(user: pwd.struct_passwd, python: str, env: Mapping[str, str]) -> bool:
    with suppress(OSError):
        test = subprocess.run(
            [python, "-c", "import relevo.cli.serve"],
            user=user.pw_uid, group=user.pw_gid, extra_groups=[],
            env=env, cwd="/", capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        return test.returncode == 0
    return False


@pytest.fixture
def site(running: HookSite) -> Iterator[HookSite]:
    with ready(running):
        yield running


@pytest.fixture
def site_without_rights(running_without_rights: HookSite) -> Iterator[HookSite]:
    with ready(running_without_rights):
        yield running_without_rights


@contextmanager
def ready(site: HookSite) -> Iterator[None]:
    site.clear()
    site.write("exit 0")
    assert site.send().code == 250  # the launchers are there
    yield
    site.clear()


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
def bomb() -> Iterator[Path]:
    with TemporaryDirectory(prefix="relevo-bomb-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "bomb.c").write_text(BOMB)
        subprocess.run(["cc", "-o", folder / "bomb", folder / "bomb.c"], check=True, timeout=60)
        yield folder / "bomb"


@pytest.mark.parametrize("name", HOOKS)
def test_hostile_hook(site: HookSite, bomb: Path, name: str) -> None:
    assert_undisturbed(lambda: met(site, bomb, HOOKS[name]))


@pytest.mark.parametrize(
    "name",
    [
        "ignores-term-and-hangs",
        "leaves-a-daemon-with-its-stdout",
        "leaves-setsid-daemons",
        "kills-its-parent",
        "forks-without-end-in-shell",
        "forks-without-end",
    ],
)
def test_hostile_hook_of_a_server_without_rights(
    site_without_rights: HookSite, bomb: Path, name: str
) -> None:
    no_rights = "CapPrm:.0000000000000000"
    site_without_rights.write(f"[ $(id -u) -ne 0 ] && grep -q {no_rights} /proc/self/status")
    assert site_without_rights.send().code == 250
    assert_undisturbed(lambda: met(site_without_rights, bomb, HOOKS[name]))


def met(site: HookSite, bomb: Path, hostile: Hostile) -> tuple[Latency, Latency]:
    """What the others feel, usually and while the hook does its worst; all else is asserted."""
    idle = site.memory()
    with watching_memory(site, [0]):  # which disturbs a little, too
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
    assert most[0] <= idle + MEMORY_SLACK
    assert site.memory() <= idle + MEMORY_SLACK // 4
    return usual, meanwhile[0]


def assert_undisturbed(measure: Callable[[], tuple[Latency, Latency]]) -> None:
    """The latency of others is normal, in one of three tries."""
    tried = []
    for _ in range(TRIES):
        usual, meanwhile = measure()
        if meanwhile.is_normal(usual):
            return
        tried.append(f"usual {usual}, meanwhile {meanwhile}")
    pytest.fail("\n".join(tried))


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
    place(site, kind)
    after = len(site.server.process.output())
    reply = site.send()
    assert reply.code == code, reply
    assert reply.text
    if log:
        site.server.wait_for_log(log, after=after)


def place(site: HookSite, kind: str) -> None:
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
