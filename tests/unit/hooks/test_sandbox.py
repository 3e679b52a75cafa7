"""Hooks in a sandbox, through a real host: what they can no longer do, and what still works."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relevo.config import load
from relevo.hooks.sandbox import Sandbox
from relevo.hooks.sandbox_trial import why_not
from relevo.hooks.settings import sandbox_of
from unit.hooks.conftest import MakeSite, Site
from unit.hooks.test_worker_launcher import ask, stage_hooks

STRICT = Sandbox(is_strict=True)

pytestmark = pytest.mark.skipif(
    bool(why_not(STRICT)), reason=f"no sandbox on this machine: {why_not(STRICT)}"
)

DOES = """
import json, os, socket, sys

def try_(what):
    try:
        return "done" if what() is None else "done"
    except OSError as error:
        return type(error).__name__

def write(path):
    with open(path, "a") as file:
        file.write("x")

def connect(place):
    socket.create_connection(place, timeout=5).close()

def datagram(place):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", place)

def acts(folder, port):
    kept, open_ = os.path.join(folder, "kept"), os.path.join(folder, "open")
    return {
        "write": try_(lambda: write(os.path.join(kept, "file"))),
        "truncate": try_(lambda: os.truncate(os.path.join(kept, "file"), 0)),
        "remove": try_(lambda: os.unlink(os.path.join(kept, "file"))),
        "make": try_(lambda: os.mkdir(os.path.join(kept, "new"))),
        "rename": try_(lambda: os.rename(os.path.join(kept, "file"), os.path.join(open_, "b"))),
        "named": try_(lambda: write(os.path.join(open_, "file"))),
        "null": try_(lambda: write("/dev/null")),
        "connect": try_(lambda: connect(("127.0.0.1", port))),
        "datagram": try_(lambda: datagram(("127.0.0.1", port))),
        "read": try_(lambda: open(os.path.join(kept, "file")).close()),
        "system": try_(lambda: open("/etc/passwd").close()),
        "kill": try_(lambda: os.kill(os.getppid(), 0)),
    }
"""
EXEC = f"""#!{sys.executable}
{DOES}
folder, port = sys.argv[1:]
tags = [f"{{k}}={{v}}" for k, v in acts(folder, int(port)).items()]
os.write(4, json.dumps({{"tags": tags}}).encode())
"""
WORKER = f"""#!{sys.executable}
{DOES}
folder, port = sys.argv[1:]
for line in iter(sys.stdin.buffer.readline, b""):
    call = json.loads(line)
    sys.stdin.buffer.read(call["size"])
    tags = [f"{{k}}={{v}}" for k, v in acts(folder, int(port)).items()]
    print(json.dumps({{"id": call["id"], "answer": {{"tags": tags}}}}), flush=True)
"""
PYTHON = f"""
{DOES}
async def mail(context):
    folder, port = sys.argv[-2:]
    return {{"tags": [f"{{k}}={{v}}" for k, v in acts(folder, int(port)).items()]}}
"""
SOURCES = {"exec": EXEC, "worker": WORKER, "python": PYTHON}
CHANGES = ("write", "truncate", "remove", "make", "rename")


def fill(site: Site, form: str) -> None:
    """A hook that tries what a sandbox forbids, in a folder `kept` and one `open`."""
    for name in ("kept", "open"):
        (site.path / name).mkdir()
        (site.path / name / "file").write_text("content")
    program = site.path / "hook.py"
    program.write_text(SOURCES[form])
    program.chmod(0o755)


def toml(folder: Path, form: str, port: int, level: str) -> str:
    value = level if level == "true" else f'"{level}"'
    return f"""
[[hook]]
stage = "mail"
form = "{form}"
target = "hook.py"
timeout = "10s"
arguments = ["{folder}", "{port}"]
processes = 1
sandbox = {value}
writable = ["open"]
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def tried(
    make_site: MakeSite, tmp_path: Path, form: str, level: str, listening: socket.socket
) -> dict[str, str]:
    """What the hook could do, by its words."""
    port = listening.getsockname()[1]
    site = make_site(toml(tmp_path / "conf", form, port, level))
    fill(site, form)
    outcome = await ask(stage_hooks(site))
    assert outcome.refusal is None, outcome
    assert (site.path / "kept" / "file").exists()
    return dict(tag.split("=", 1) for tag in outcome.changes.tags)


@pytest.mark.parametrize("form", SOURCES)
async def test_without_a_sandbox_all_of_it_can_be_done(
    make_site: MakeSite, tmp_path: Path, listening: socket.socket, form: str
) -> None:
    port = listening.getsockname()[1]
    site = make_site(toml(tmp_path / "conf", form, port, "false"))
    fill(site, form)
    outcome = await ask(stage_hooks(site))
    found = dict(tag.split("=", 1) for tag in outcome.changes.tags)
    assert {found[name] for name in ("write", "make", "named", "connect", "datagram", "kill")} == {
        "done"
    }


@pytest.mark.parametrize("form", SOURCES)
async def test_nothing_is_changed_or_connected_to_but_what_is_named(
    make_site: MakeSite, tmp_path: Path, listening: socket.socket, form: str
) -> None:
    found = await tried(make_site, tmp_path, form, "true", listening)
    assert {found[name] for name in CHANGES} <= {"PermissionError", "OSError"}
    assert found["connect"] != "done"
    assert found["datagram"] == "OSError"  # the network is unreachable
    assert {found[name] for name in ("named", "null", "read", "system")} == {"done"}


@pytest.mark.parametrize("form", SOURCES)
async def test_a_strict_one_reads_only_the_system_and_itself(
    make_site: MakeSite, tmp_path: Path, listening: socket.socket, form: str
) -> None:
    found = await tried(make_site, tmp_path, form, "strict", listening)
    assert found["read"] == "PermissionError"
    assert {found[name] for name in CHANGES} <= {"PermissionError", "OSError"}
    assert {found[name] for name in ("named", "null", "system")} == {"done"}


INSIDE = """
import json, os, socket, sys
from relevo.hooks import landlock, sandbox
if {user} is not None:  # by now all that is read as root is read
    os.setgroups([])
    os.setgid({user})
    os.setuid({user})
landlock.abi = lambda version=landlock.abi(): min(version, {abi})
sandbox.enter(sandbox.Sandbox({strict}, ({folder!r} + "/open",), ()))
os.chdir("/")
os.execv("/bin/sh", ["sh", "-c", {script!r}])
"""
NOBODY = 65534


def shell(
    folder: Path, script: str, *, abi: int = 99, strict: bool = False, user: int | None = None
) -> str:
    """What a script says that was started in a sandbox, on a kernel that knows no more."""
    code = INSIDE.format(abi=abi, strict=strict, folder=str(folder), script=script, user=user)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where anybody may write."""
    path = Path("/tmp") / f"relevo-sandbox-{os.getpid()}"  # tmp_path is the user's own
    for name in ("kept", "open"):
        (path / name).mkdir(parents=True)
        (path / name).chmod(0o777)
        (path / name / "file").write_text("content")
        (path / name / "file").chmod(0o666)
    yield path
    shutil.rmtree(path)


WRITES = """
echo x > {0}/kept/file; rm -f {0}/kept/file; mv {0}/open/file {0}/kept/moved; echo x > {0}/open/new
"""
FREED = "unshare -Ur mount -o remount,bind,rw / ; unshare -Urm sh -c 'mount -o remount,bind,rw /'"


@pytest.mark.parametrize("user", [None, NOBODY])
@pytest.mark.parametrize("abi", [0, 2, 3, 99])
def test_old_kernels_have_a_read_only_file_system_instead(
    folder: Path, abi: int, user: int | None
) -> None:
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    shell(folder, f"{FREED}; {WRITES.format(folder)}", abi=abi, user=user)
    assert (folder / "kept" / "file").read_text() == "content"
    assert (folder / "open" / "new").read_text() == "x\n"
    assert [each.name for each in (folder / "kept").iterdir()] == ["file"]


def test_programs_have_no_rights_and_get_none(folder: Path) -> None:
    said = shell(folder, "grep -E '^(NoNewPrivs|CapEff|CapPrm):' /proc/self/status; id -u")
    assert said.split() == [
        "CapPrm:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", "1", str(os.geteuid())
    ]  # fmt: skip


def test_strict_needs_landlock(folder: Path) -> None:
    assert "the kernel has no Landlock" in shell(folder, "true", abi=0, strict=True)


def test_without_namespaces_there_is_no_sandbox() -> None:
    code = (
        "from relevo.hooks.sandbox import Sandbox; from relevo.hooks.sandbox_trial import why_not; "
        "print(why_not(Sandbox()))"
    )
    none = "echo 0 > /proc/sys/user/max_user_namespaces"
    words = ["unshare", "-Ur", "sh", "-c", f'{none} && exec "$@"', "sh", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert "gives this user no namespaces of its own" in done.stdout, done.stderr
    assert "user.max_user_namespaces" in done.stdout


def test_a_hook_has_the_sandbox_of_all_and_its_own(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text(
        'hostname = "mx.test"\n[hooks]\nsandbox = true\nwritable = ["state"]\n'
        '[[hook]]\ntarget = "a"\n[[hook]]\ntarget = "b"\nsandbox = "strict"\n'
        'writable = ["/srv/b"]\nreadable = ["words"]\n[[hook]]\ntarget = "c"\nsandbox = false\n'
    )
    config = load(tmp_path)
    state = str(tmp_path / "state")
    assert sandbox_of(config) == Sandbox(writable=(state,), readable=(str(tmp_path / "hooks"),))
    a, b, c = (sandbox_of(config, each) for each in config.hook)
    assert a == Sandbox(writable=(state,), readable=(str(tmp_path / "a"),))
    assert b == Sandbox(
        is_strict=True,
        writable=(state, "/srv/b"),
        readable=(str(tmp_path / "b"), str(tmp_path / "words")),
    )
    assert c is None
